import { join } from 'node:path'
import { errorOf, resultOf, succeedSilently } from '../harness/answer.js'
import type { Host } from '../harness/host.js'
import { suites } from '../harness/locations.js'
import { type Call, environment, runPlugin, type Verb } from '../harness/plugin.js'
import type { Finished, ProcessOptions } from '../harness/process.js'
import type { Row } from './rows.js'

const wire = { cniVersion: '1.1.0', name: 'wire', type: 'bridge', ipam: { type: 'host-local', subnet: '10.32.0.0/24' } }

/**
 * A row on a host that has what its ADD needs: a container, a link to the LAN, one to lend, and the plugin in front of
 * it.
 */
export interface Stage {
  readonly host: Host
  /** How a process is started that makes the call itself. */
  readonly start: (verb: Verb) => { readonly argv: readonly string[]; readonly options: ProcessOptions }
  readonly call: (verb: Verb, more?: object, surroundings?: Partial<Call>) => Promise<Finished>
}

export async function stage(host: Host, { config, isChained }: Row): Promise<Stage> {
  await host.outside()
  await host.output(['ip', 'link', 'add', 'spare0', 'type', 'veth', 'peer', 'name', 'spare1'])
  const { netns } = await host.container()
  const request = (command: Verb, of: object, plugin: string): Call => ({
    plugin,
    command,
    containerID: 'one',
    netns,
    config: of,
  })
  const prevResult = isChained && resultOf(await runPlugin(host, request('ADD', wire, 'bridge')))
  const own = { cniVersion: '1.1.0', name: 'own', ...config, ...(prevResult ? { prevResult } : {}) }
  const call: Stage['call'] = (verb, more = {}, surroundings = {}) =>
    runPlugin(host, { ...request(verb, { ...own, ...more }, config.type), ...surroundings })
  const start: Stage['start'] = (verb) => {
    const asked = request(verb, own, config.type)
    return {
      argv: [join(suites.podwire, config.type)],
      options: { stdin: JSON.stringify(own), env: environment(asked) },
    }
  }
  return { host, call, start }
}

/** What STATUS says: "available", or its message; it says nothing else. */
export async function answer({ call }: Stage, more: object = {}): Promise<string> {
  const finished = await call('STATUS', more)
  if (finished.status === 0) {
    succeedSilently(finished)
    return 'available'
  }
  const { code, msg, details = '' } = errorOf(finished)
  if (code !== 50) throw new Error(`STATUS answers ${code}: ${msg}`)
  return `${msg}\n${details}`
}

/** Whether ADD works; what it made is taken away again, as far as that can be. */
export async function works({ call }: Stage): Promise<boolean> {
  const { status } = await call('ADD')
  await call('DEL')
  return status === 0
}

/** All that STATUS must not change: the network's state, the rules, and every file that a plugin could write. */
export async function observed(host: Host): Promise<string> {
  const commands = [
    // The kernel gives IPv6 link-local addresses, and flags to links without a carrier, when it finds the time.
    'ip -o link | sed "s/<[^>]*>//; s/ state [A-Z]*//"',
    'ip -4 addr | grep inet',
    'ip rule',
    'ip -4 route show table all | sed "s/ linkdown//"',
    'ip netns',
    'nft -s list ruleset',
    'find /run /var/lib -printf "%p %y %i %n %s %T@\\n" | sort',
  ]
  return await host.output(['sh', '-c', commands.join(' && ')])
}
