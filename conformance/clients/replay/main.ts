/**
 * replay SUITE SAMPLE [chained]: gives recorded calls to the plugins of /opt/cni/bin, which are that suite's, in the
 * recorded order, and compares exit code and output; what the table of differences explains is podwire's to do
 * otherwise. Runs in a cell. The calls plugins make to each other are replayed on their own, before the clients' calls;
 * "chained" gives only those, each list as one chain.
 */
import { existsSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { basename, join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { chained } from './chained.js'
import { differences, explanation, stringsIn } from './compare.js'
import { invoke } from './invoke.js'
import { Report } from './report.js'
import { attachmentOf, isDelegated, isObject, type Json, type RecordedCall, readSample } from './samples.js'
import { command, Stage } from './stage.js'
import { interfacesOf, Substitution } from './substitution.js'

const pluginDirectory = '/opt/cni/bin'
const leaseDirectory = '/var/lib/cni/networks'

/** Why a call cannot be replayed here, if it cannot. */
function obstacle(call: RecordedCall): string | undefined {
  const ipam = call.stdin['ipam']
  if (isObject(ipam) && ipam['type'] === 'dhcp') return 'needs a DHCP server'
  if (!existsSync(join(pluginDirectory, call.type))) return `no plugin ${call.type} in the directory under test`
  return undefined
}

/** The recorded calls that a call stands for: those of a chain's members, or itself. */
function partsOf(call: RecordedCall & { of?: readonly RecordedCall[] }): readonly RecordedCall[] {
  return call.of ?? [call]
}

/** True for the name of a host's end or of a shaping link, as either suite makes them up. */
const isMade = (name: string) => name.startsWith('veth') || name.startsWith('bwp')

/** The addresses of a result, without their prefix lengths. */
function addressesOf(result: Json): string[] {
  const ips = isObject(result) && Array.isArray(result['ips']) ? result['ips'].filter(isObject) : []
  return ips.map(({ address }) => String(address).replace(/\/.*/, ''))
}

/** One pass over a sample's calls on a clean host. */
class Replay {
  readonly #stage = new Stage()
  readonly #substitution = new Substitution()
  /** The attachments that were added and not deleted, with the links of the host that they have. */
  readonly #present = new Map<string, string[]>()
  /** The attachments whose first recorded ADD was met. */
  readonly #begun = new Set<string>()
  /** Each address that was given, with the attachment that had it last. */
  readonly #addresses = new Map<string, string>()
  readonly #report: Report

  constructor(report: Report) {
    this.#report = report
  }

  async run(calls: RecordedCall[]): Promise<void> {
    for (let position = 0; position < calls.length; ) {
      const batch = batchAt(calls, position)
      await Promise.all(batch.map((call) => this.#replay(call)))
      position += batch.length
    }
  }

  async #replay(call: RecordedCall): Promise<void> {
    const reason = partsOf(call)
      .map(obstacle)
      .find((one) => one !== undefined)
    const isBehindOthers = this.#begin(call)
    if (reason !== undefined) return this.#report.skip(call, reason)
    const netns = await this.#prepare(call, isBehindOthers)
    const stdin = this.#substitution.apply(call.stdin)
    const { exitCode, stdout, stderr } = await invoke(pluginDirectory, { ...call, netns, stdin })
    const expected = this.#substitution.apply(call.stdout)
    const found =
      exitCode === call.rc
        ? differences(expected, stdout, { given: stringsIn(stdin) })
        : [`exit code ${exitCode}, not ${call.rc}: ${JSON.stringify(stdout)} ${stderr}`]
    this.#report.count(
      call,
      found,
      partsOf(call).map(({ type }) => type),
    )
    this.#remember(call, stdout)
  }

  /** Makes the host fit the call; returns the namespace path to give. */
  async #prepare(call: RecordedCall, isBehindOthers: boolean): Promise<string> {
    for (const { cmd, type, ...part } of call.cmd === 'ADD' ? partsOf(call) : []) {
      if (type === 'bridge') this.#stage.renewBridge({ cmd, type, ...part })
      if (type === 'host-device') this.#stage.provideDevice(part.stdin['device'])
      if (type === 'macvlan') this.#stage.provideDevice(part.stdin['master'])
    }
    if (call.cmd === 'DEL' && call.netns === '') this.#stage.endNamespacesOf(call.id)
    if (!call.netns.startsWith('/')) return call.netns
    const path = await this.#stage.namespaceFor(call)
    this.#substitution.learn(call.netns, path)
    if (isBehindOthers) this.#stage.provideAttachment(this.#substitution.apply(call), path)
    return path
  }

  /** True for the first recorded ADD of an attachment that has a result already: no plugin of ours makes its links. */
  #begin(call: RecordedCall): boolean {
    const attachment = attachmentOf(call)
    if (call.cmd === 'DEL') this.#begun.delete(attachment)
    if (call.cmd !== 'ADD' || this.#begun.has(attachment)) return false
    this.#begun.add(attachment)
    return isObject(call.stdin['prevResult'])
  }

  #remember(call: RecordedCall, stdout: Json): void {
    if (call.cmd === 'DEL') this.#present.delete(attachmentOf(call))
    if (call.cmd !== 'ADD' || call.rc !== 0) return
    this.#substitution.learnInterfaces(call.stdout, stdout)
    this.#present.set(
      attachmentOf(call),
      interfacesOf(stdout)
        .map((link) => String(link['name']))
        .filter(isMade),
    )
    if (call.ifname === 'lo') return
    for (const address of addressesOf(stdout)) this.#addresses.set(address, attachmentOf(call))
  }

  /** Only what the clients never deleted may hold a lease or a host end. */
  async checkRemains(): Promise<void> {
    const foreign = leaseOwners().filter((owner) => !this.#present.has(owner))
    this.#report.check('no lease of a deleted attachment', foreign)
    this.#report.check('no host end or shaping link of a deleted attachment', await this.#orphans())
    if (isOurs) this.#report.check('no rule of a deleted attachment', this.#rules())
    this.#stage.end()
  }

  /** The addresses in rules whose attachment was deleted. */
  #rules(): string[] {
    const words = new Set(command('nft', 'list', 'ruleset').split(/[\s,{}]+/))
    return [...this.#addresses].flatMap(([address, owner]) =>
      words.has(address) && !this.#present.has(owner) ? [`${address} of ${owner}`] : [],
    )
  }

  /** Links whose attachment was deleted. The kernel takes a moment to end the links of an ended namespace. */
  async #orphans(): Promise<string[]> {
    const expected = new Set([...this.#present.values()].flat())
    const deadline = Date.now() + 30_000
    for (;;) {
      const links: { ifname: string }[] = JSON.parse(command('ip', '-json', 'link', 'show'))
      const orphans = links.map((link) => link.ifname).filter((name) => isMade(name) && !expected.has(name))
      if (orphans.length === 0 || Date.now() > deadline) return orphans
      await setTimeout(50)
    }
  }
}

/** Consecutive VERSION calls change nothing, so they may run together; every other call runs alone. */
function batchAt(calls: RecordedCall[], start: number): RecordedCall[] {
  const atOnce = 4
  let end = start
  while (end < calls.length && end - start < atOnce && calls[end]?.cmd === 'VERSION') end++
  return calls.slice(start, Math.max(end, start + 1))
}

/** The attachments that hold leases: a lease file has the container on its first line, the interface on its second. */
function leaseOwners(): string[] {
  if (!existsSync(leaseDirectory)) return []
  const files = readdirSync(leaseDirectory, { recursive: true, withFileTypes: true })
  const leases = files.filter(
    (file) => file.isFile() && file.name !== 'lock' && !file.name.startsWith('last_reserved_ip'),
  )
  return leases.map((file) => readFileSync(join(file.parentPath, file.name), 'utf8').trim().split(/\s+/).join(' '))
}

async function replaySample(file: string, report: Report): Promise<void> {
  const calls = readSample(file)
  report.sample = basename(file, '.jsonl.gz')
  const byClients = calls.filter((call) => !isDelegated(call))
  for (const pass of isChained ? [chained(byClients)] : [calls.filter(isDelegated), byClients]) {
    rmSync(leaseDirectory, { recursive: true, force: true })
    const replay = new Replay(report)
    await replay.run(pass)
    await replay.checkRemains()
  }
}

const [suite = '', file = '', form = ''] = process.argv.slice(2)
const isChained = form === 'chained'
const isOurs = suite === 'podwire'
const report = new Report(isOurs ? explanation : () => undefined)
await replaySample(file, report)
process.exitCode = report.finish()
