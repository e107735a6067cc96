/** Makes of the calls of a list's plugins the calls of a chain that has them as members. */
import { attachmentOf, isObject, type JsonObject, type RecordedCall } from './samples.js'

/** A call of a chain, and the recorded calls that it stands for, in their order. */
export type ChainedCall = RecordedCall & { of: readonly RecordedCall[] }

/**
 * Neighbouring ADDs of an attachment, each with the result of the one before; CHECKs and DELs, until a plugin comes
 * again. An ADD ends with the member that failed, and its answer is the last one's. Calls of VERSION, which every
 * plugin answers alike, are left out.
 */
export function chained(calls: readonly RecordedCall[]): ChainedCall[] {
  const groups: RecordedCall[][] = []
  for (const call of calls.filter(({ cmd }) => cmd !== 'VERSION')) {
    const group = groups.at(-1)
    if (group && goesOn(group, call)) group.push(call)
    else groups.push([call])
  }
  return groups.map(asOne)
}

function goesOn(group: readonly RecordedCall[], call: RecordedCall): boolean {
  const last = group.at(-1) as RecordedCall
  const isSame = [attachmentOf, ({ cmd }: RecordedCall) => cmd, ({ stdin }: RecordedCall) => stdin['name']].every(
    (part) => part(last) === part(call),
  )
  const isNext = call.cmd === 'ADD' ? isObject(call.stdin['prevResult']) : !group.some(({ type }) => type === call.type)
  return isSame && isNext && last.rc === 0 && last.netns === call.netns
}

function asOne(group: readonly RecordedCall[]): ChainedCall {
  const [first, last] = [group[0], group.at(-1)] as [RecordedCall, RecordedCall]
  const inOrder = first.cmd === 'DEL' ? group.toReversed() : group
  const runtimeConfig: JsonObject = {}
  const capabilities: JsonObject = {}
  const plugins = inOrder.map(({ stdin }) => {
    const { name: _, cniVersion: __, prevResult: ___, runtimeConfig: given, ...config } = stdin
    const own: JsonObject = isObject(config['capabilities']) ? { ...config['capabilities'] } : {}
    for (const [key, value] of Object.entries(isObject(given) ? given : {})) {
      own[key] = true
      runtimeConfig[key] = value
    }
    Object.assign(capabilities, Object.fromEntries(Object.entries(own).filter(([, value]) => value === true)))
    return { ...config, capabilities: own }
  })
  const { name, cniVersion, prevResult } = first.stdin as { [key: string]: JsonObject }
  const stdin: JsonObject = {
    ...(cniVersion === undefined ? {} : { cniVersion }),
    ...(name === undefined ? {} : { name }),
    type: 'chain',
    capabilities,
    plugins,
    ...(Object.keys(runtimeConfig).length > 0 ? { runtimeConfig } : {}),
    ...(prevResult === undefined ? {} : { prevResult }),
  }
  return { ...last, type: 'chain', stdin, of: group }
}
