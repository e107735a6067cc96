import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Attachment, Conflist } from './chain.js'
import type { Host } from './host.js'
import { cnitool, commandPath, everySuite } from './locations.js'
import type { Finished } from './process.js'

const configDirectory = '/run/cni/net.d'

export type CnitoolVerb = 'add' | 'check' | 'del' | 'gc' | 'status'

/** Writes a configuration list into the host's configuration directory, where runCnitool() finds it by name. */
export function writeConflist(host: Host, list: Conflist): void {
  mkdirSync(host.path(configDirectory), { recursive: true })
  writeFileSync(join(host.path(configDirectory), `${list.name}.conflist`), JSON.stringify(list, undefined, 2))
}

/** Runs the official cnitool against a suite; the result is on stdout, errors are text on stderr. */
export function runCnitool(host: Host, verb: CnitoolVerb, network: string, call: Attachment): Promise<Finished> {
  const env: Record<string, string> = {
    PATH: commandPath,
    NETCONFPATH: configDirectory,
    CNI_PATH: everySuite[call.suite ?? 'podwire'],
    CNI_IFNAME: call.ifName ?? 'eth0',
  }
  if (call.capabilityArgs !== undefined) env['CAP_ARGS'] = JSON.stringify(call.capabilityArgs)
  if (call.args !== undefined) env['CNI_ARGS'] = call.args
  return host.exec([cnitool, verb, network, call.netns ?? '/run/netns/none'], { env })
}
