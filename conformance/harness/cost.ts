import type { Host } from './host.js'
import { type Call, runPlugin, type Verb } from './plugin.js'
import { programsOf, readTrace } from './trace.js'

/** A plugin's configuration without version and network name. */
export interface Costed {
  type: string
  [key: string]: unknown
}

/**
 * The commands that a verb runs, those of one process of ours joined by " + ", in the order of the processes; a verb
 * that runs none is left out.
 */
export type Cost = Partial<Record<Verb, string[]>>

const wire = {
  type: 'bridge',
  isGateway: true,
  ipam: { type: 'host-local', ranges: [[{ subnet: '10.32.0.0/24' }]], routes: [{ dst: '0.0.0.0/0' }] },
}

/**
 * What every verb of a plugin costs once the host has seen one attachment of its kind; a chained plugin comes behind a
 * bridge. With `isBeside` there is another one on that all the time.
 */
export async function costOf(
  host: Host,
  config: Costed,
  { isChained = false, isBeside = false }: { isChained?: boolean; isBeside?: boolean } = {},
): Promise<Cost> {
  const { netns } = await host.container()
  const call = (command: Verb, containerID: string, more: object = {}, of: Costed = config): Call => {
    const network = { cniVersion: '1.1.0', name: of === wire ? 'wire' : 'cost', ...of, ...more }
    return { plugin: of.type, command, containerID, netns, config: network }
  }
  const wired = async (containerID: string, more: { netns?: string } = {}) => ({
    prevResult: JSON.parse(await succeed(host, { ...call('ADD', containerID, {}, wire), ...more })),
  })
  if (isBeside) {
    const other = { netns: (await host.container()).netns }
    await succeed(host, { ...call('ADD', 'other', await wired('other', other)), ...other })
  }
  const prevResult = isChained ? await wired('wired') : {}
  for (const command of ['ADD', 'DEL'] as const) await succeed(host, call(command, 'first', prevResult))
  const cost: Cost = {}
  const measure = async (command: Verb, more: object = {}): Promise<string> => {
    const trace = `/run/cost-${command}`
    const stdout = await succeed(host, { ...call(command, 'next', more), env: { PODWIRE_TRACE: trace } })
    const started = readTrace(host, trace).filter(({ netlink }) => !netlink)
    const processes = Map.groupBy(started, ({ time, ms }) => `${time} ${ms}`)
    if (processes.size > 0) cost[command] = [...processes.values()].map((group) => programsOf(group).join(' + '))
    return stdout
  }
  await measure('VERSION')
  const result = JSON.parse((await measure('ADD', prevResult)) || '{}')
  await measure('CHECK', { prevResult: result })
  await measure('STATUS')
  await measure('GC', { 'cni.dev/valid-attachments': [{ containerID: 'next', ifname: 'eth0' }] })
  await measure('DEL', { prevResult: result })
  return cost
}

async function succeed(host: Host, call: Call): Promise<string> {
  const { status, stdout, stderr } = await runPlugin(host, call)
  if (status !== 0) throw new Error(`${call.plugin} ${call.command}: ${stdout}${stderr}`)
  return stdout
}
