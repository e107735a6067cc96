import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { describe, expect } from 'vitest'
import { attachmentHash } from '../shared/values/names.js'
import { Cgroup } from './harness/cgroup.js'
import { runCnitool, writeConflist } from './harness/cnitool.js'
import { test } from './harness/fixture.js'
import type { Host } from './harness/host.js'
import { repository, suites } from './harness/locations.js'
import { run, until } from './harness/process.js'

// The commands of `podwire` that look at a node and clean it up, on live attachments of both suites made by cnitool.

const program = `${suites.podwire}/podwire`
const conf = '/run/cni/net.d'
const { version } = JSON.parse(readFileSync(`${repository}/package.json`, 'utf8')) as { version: string }

const networks = { podwire: '10.231.41', official: '10.231.42' } as const
type Network = keyof typeof networks
const both = Object.keys(networks) as Network[]

function writeNetworks(host: Host): void {
  for (const name of both) {
    const subnet = `${networks[name]}.0/24`
    const bridge = { type: 'bridge', bridge: `br-${name.slice(0, 4)}`, isGateway: true, ipMasq: true }
    writeConflist(host, {
      cniVersion: '1.0.0',
      name,
      plugins: [
        { ...bridge, ipam: { type: 'host-local', subnet } },
        { type: 'portmap', capabilities: { portMappings: true } },
        { type: 'firewall' },
      ],
    })
  }
}

async function attach(host: Host, name: Network, container: string, hostPort?: number): Promise<void> {
  const mapping = { hostPort, containerPort: 80, protocol: 'tcp' }
  const capabilityArgs = hostPort === undefined ? {} : { capabilityArgs: { portMappings: [mapping] } }
  const call = { suite: name, netns: `/run/netns/${container}`, ...capabilityArgs }
  const { status, stderr } = await runCnitool(host, 'add', name, call)
  expect([status, stderr]).toEqual([0, ''])
}

const detach = (host: Host, name: Network, container: string) =>
  runCnitool(host, 'del', name, { suite: name, netns: `/run/netns/${container}` })

interface Told {
  readonly network: string
  readonly state: string
  readonly addresses: readonly string[]
  readonly ports: readonly { host: number }[]
  readonly netns: string
}

async function ask<Answer>(host: Host, words: readonly string[], status = 0): Promise<Answer> {
  const finished = await host.exec([program, ...words, '--conf', conf, '--json'])
  expect(finished, finished.stderr).toMatchObject({ status })
  return JSON.parse(finished.stdout) as Answer
}

/**
 * The files of every attachment are an hour old: what is younger than ten minutes is never taken. Some may go while it
 * looks.
 */
const grow = (host: Host) =>
  host.exec(['sh', '-c', 'find /run/podwire /var/lib/cni -type f | xargs touch -c -d "1 hour ago"'])

/** The files of state, by name, and the parts of all rules. */
interface State {
  readonly files: readonly { readonly path: string; readonly text: string }[]
  readonly rules: readonly string[]
}

async function stateOf(host: Host): Promise<State> {
  const files = ['/run/podwire', '/var/lib/cni'].flatMap((folder) => {
    const inside = readdirSync(host.path(folder), { recursive: true, withFileTypes: true }).filter((one) =>
      one.isFile(),
    )
    return inside.map(({ parentPath, name }) => join(parentPath, name))
  })
  const rules = (await host.output(['nft', 'list', 'ruleset'])).split(/[\n,{}]/)
  return {
    files: files.map((path) => ({ path, text: readFileSync(path, 'utf8') })),
    rules: rules.map((part) => part.trim().replace(/packets \d+ bytes \d+/, '')),
  }
}

/** All that is there of an address: files of state, and rules. */
function leftOf({ files, rules }: State, address: string): readonly string[] {
  const isOf = (part: string) => part.split(/[^\d.]/).includes(address)
  const named = files.filter(({ path, text }) => !path.includes('/last_reserved_ip') && (isOf(path) || isOf(text)))
  return [...named.map(({ path }) => path), ...rules.filter(isOf)].sort()
}

describe('of both suites', () => {
  test('ps, leases and ports tell what lives, and gc takes what is dead and no more', async ({ host }) => {
    writeNetworks(host)
    for (const name of both) {
      for (const kind of ['live', 'dead']) {
        await host.container(`${name}-${kind}`)
        await attach(host, name, `${name}-${kind}`, { podwire: 8080, official: 9090 }[name] + Number(kind === 'dead'))
      }
    }
    for (const container of host.containers.filter(({ name }) => name.endsWith('dead'))) await container.remove()

    const { attachments } = await ask<{ attachments: Told[] }>(host, ['ps'])
    const told = attachments.map(({ network, state, addresses, ports, netns }) => {
      return [network, netns.slice('/run/netns/'.length), state, addresses[0], ports[0]?.host]
    })
    expect(told).toEqual([
      ['official', 'official-live', 'alive', '10.231.42.2/24', 9090],
      ['official', 'official-dead', 'dead', '10.231.42.3/24', 9091],
      ['podwire', 'podwire-live', 'alive', '10.231.41.2/24', 8080],
      ['podwire', 'podwire-dead', 'dead', '10.231.41.3/24', 8081],
    ])
    const { ranges } = await ask<{ ranges: object[] }>(host, ['leases'])
    expect(ranges).toMatchObject([
      { network: 'official', used: 2, dead: 1, size: '253' },
      { network: 'podwire', used: 2, dead: 1, size: '253' },
    ])
    const { ports } = await ask<{ ports: { port: string; to: string; hasRule: boolean }[] }>(host, ['ports'])
    expect(ports.map(({ port, to, hasRule }) => [port, to, hasRule])).toEqual([
      ['9090', '10.231.42.2:80', true],
      ['9091', '10.231.42.3:80', true],
      ['8080', '10.231.41.2:80', true],
      ['8081', '10.231.41.3:80', true],
    ])

    const young = await ask<{ dead: object[]; waiting: object[] }>(host, ['gc', '--dry-run'])
    expect([young.dead.length, young.waiting.length]).toEqual([0, 2])
    await grow(host)
    // Another namespace that has the address of a dead one: nothing proves that it is not that container.
    const squatter = await host.container('squatter')
    await squatter.output(['ip', 'addr', 'add', '10.231.42.3/32', 'dev', 'lo'])
    expect((await ask<{ dead: Told[] }>(host, ['gc', '--dry-run'], 1)).dead.map(({ network }) => network)).toEqual([
      'podwire',
    ])
    await squatter.remove()

    const living = (state: State) => both.map((name) => leftOf(state, `${networks[name]}.2`))
    const before = living(await stateOf(host))
    const { kept } = await ask<{ kept: object[] }>(host, ['gc'])
    expect(kept).toEqual([])
    const after = await stateOf(host)
    for (const name of both) expect(leftOf(after, `${networks[name]}.3`), name).toEqual([])
    expect(living(after)).toEqual(before)
    expect((await ask<{ dead: object[] }>(host, ['gc', '--dry-run'])).dead).toEqual([])
    for (const name of both) expect(await detach(host, name, `${name}-live`)).toMatchObject({ status: 0 })
    expect((await ask<{ attachments: object[] }>(host, ['ps'])).attachments).toEqual([])
  })

  test('leases free gives one back that is dead', async ({ host }) => {
    writeNetworks(host)
    const container = await host.container('goes')
    await attach(host, 'official', 'goes')
    await grow(host)
    const free = (status: number) => ask<{ outcome: string }>(host, ['leases', 'free', '10.231.42.2'], status)
    expect((await free(1)).outcome).toBe('kept')
    await container.remove()
    expect((await free(0)).outcome).toBe('freed')
    expect(readdirSync(host.path('/var/lib/cni/networks/official'))).not.toContain('10.231.42.2')
  })
})

const attachmentCount = 1000

/** Records, cached results and leases of many attachments, of which only a few have a namespace. */
function writeMany(host: Host): void {
  const network = 'many'
  const plugins = [{ type: 'bridge', ipam: { type: 'host-local', subnet: '10.232.0.0/16' } }, { type: 'portmap' }]
  const config = Buffer.from(JSON.stringify({ cniVersion: '1.0.0', name: network, plugins })).toString('base64')
  const put = (file: string, text: string) => {
    mkdirSync(host.path(dirname(file)), { recursive: true })
    writeFileSync(host.path(file), text)
  }
  for (let at = 0; at < attachmentCount; at++) {
    const [containerID, ifName, address] = [`c${at}`, 'eth0', `10.232.${1 + Math.floor(at / 250)}.${2 + (at % 250)}`]
    const attachment = { network, containerID, ifName }
    const interfaces = [{ name: 'cni0' }, { name: `veth${at}` }, { name: ifName, sandbox: `/run/netns/${containerID}` }]
    const result = { cniVersion: '1.0.0', interfaces, ips: [{ address: `${address}/16`, interface: 2 }] }
    const portMappings = [{ hostPort: 10_000 + at, containerPort: 80, protocol: 'tcp' }]
    const call = { containerId: containerID, ifName, networkName: network, netns: `/run/netns/${containerID}` }
    const cached = { kind: 'cniCacheV1', ...call, config, capabilityArgs: { portMappings }, result }
    put(`/var/lib/cni/results/${network}-${containerID}-${ifName}`, JSON.stringify(cached))
    put(`/var/lib/cni/networks/${network}/${address}`, `${containerID}\r\n${ifName}`)
    const masquerade = { backend: 'nftables', addresses: [`${address}/16`] }
    for (const [kind, data] of Object.entries({ bridge: {}, masquerade })) {
      const file = `/run/podwire/${kind}/${network}/${attachmentHash(attachment)}`
      put(file, JSON.stringify({ version: 2, attachment, data }))
    }
    const annotations = { 'nerdctl/name': `web${at}` }
    put(
      `/run/containerd/io.containerd.runtime.v2.task/default/${containerID}/config.json`,
      JSON.stringify({ annotations }),
    )
  }
}

describe(`with ${attachmentCount} attachments`, () => {
  test('each command takes at most 2 s of processor and 150 MB', async ({ host, skip }) => {
    const cgroup = Cgroup.create('memory')
    if (!cgroup) return skip('nobody is let have the cgroup controller memory here')
    try {
      cgroup.limit(150 * 1024 * 1024)
      const enter = ['nsenter', `--net=/proc/${host.pid}/ns/net`, `--mount=/proc/${host.pid}/ns/mnt`, '--']
      writeMany(host)
      for (let at = 0; at < 20; at++) await host.container(`c${at}`)
      await grow(host)
      for (const words of [['ps'], ['leases'], ['ports'], ['gc', '--dry-run']]) {
        const joining = ['sh', '-c', 'echo 0 >"$0" && exec "$@"', cgroup.processes]
        const argv = [...joining, ...enter, 'prlimit', '--cpu=2', program, ...words, '--json']
        let finished = await run(argv)
        // What takes too much does so each time; a processor that others use, too, takes longer for the same.
        for (let tries = 1; tries < 4 && finished.signal !== null; tries++) finished = await run(argv)
        const { status, signal, stdout, stderr } = finished
        expect([words, status, signal, stderr]).toEqual([words, words[0] === 'gc' ? 1 : 0, null, ''])
        const answer = JSON.parse(stdout) as Record<string, unknown[]>
        const { dead = [], ...others } = answer
        const count =
          words[0] === 'gc' ? dead.length + 20 : (others['attachments'] ?? others['leases'] ?? others['ports'])?.length
        expect([words, count]).toEqual([words, attachmentCount])
      }
    } finally {
      await cgroup.remove()
    }
  })
})

describe('over the official suite and back', () => {
  test('install and uninstall say what lives, and change nothing that runs', { timeout: 180_000 }, async ({ host }) => {
    writeNetworks(host)
    const bin = '/run/bin'
    await host.output(['cp', '-r', suites.official, bin])
    const sums = () => host.output(['sh', '-c', 'cd "$0" && sha256sum -- * 2>&1', bin])
    const before = await sums()
    await host.container('lives')
    await attach(host, 'official', 'lives')
    const install = async (words: readonly string[], status: number) => {
      const finished = await host.exec([program, 'install', '--to', bin, ...words, '--json'], { deadline: 120_000 })
      expect(finished, finished.stdout + finished.stderr).toMatchObject({ status })
      return JSON.parse(finished.stdout) as Record<'replaced' | 'findings' | 'removed' | 'restored', string[]>
    }

    expect((await install(['--check'], 0)).findings).toEqual([])
    expect((await install([], 0)).replaced).toContain('bridge')
    const told = await install(['--check'], 0)
    const { programs } = told as unknown as { programs: { name: string; suite: string; version: string }[] }
    expect(programs.find(({ name }) => name === 'bridge')).toMatchObject({ suite: 'podwire', version })
    expect(programs.find(({ name }) => name === 'dhcp')).toMatchObject({ suite: 'official' })

    const nobody = ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups', '--']
    for (const name of ['ps', 'leases', 'ports', 'gc']) {
      const { status, stdout } = await host.exec([...nobody, `${bin}/podwire`, name, '--json'])
      const { unused = [] } = JSON.parse(stdout || '{}') as { unused?: object[] }
      expect([name, status, unused.length > 0]).toEqual(name === 'gc' ? [name, 2, false] : [name, 0, true])
    }

    const uninstall = ['uninstall', '--bin', bin, '--conf', conf, '--json']
    const refused = await host.exec([program, ...uninstall])
    expect(refused).toMatchObject({ status: 1 })
    expect(JSON.parse(refused.stdout)).toMatchObject({ alive: [{ network: 'official', ifName: 'eth0' }], removed: [] })
    expect((await install(['--rollback'], 0)).restored).toContain('bridge')
    expect(await sums()).toBe(before)
    expect((await ask<{ attachments: Told[] }>(host, ['ps'])).attachments).toMatchObject([{ state: 'alive' }])
    expect(await detach(host, 'official', 'lives')).toMatchObject({ status: 0 })

    await install([], 0)
    const { removed } = JSON.parse(await host.output([program, ...uninstall])) as { removed: string[] }
    expect(removed).toContain(`${bin}/bridge`)
    expect(readdirSync(host.path(bin)).sort()).toEqual(['dhcp', 'podwire-kept'])
  })
})

/** `PODWIRE_GC_ROUNDS=500` is what `make gc-rounds` runs: so many to a host, which lives ten minutes at the most. */
const rounds = Number(process.env['PODWIRE_GC_ROUNDS'] ?? 2)
const roundsOfHost = 20
const parallel = 20

describe('gc beside ADDs and DELs', () => {
  const firsts = Array.from({ length: Math.ceil(rounds / roundsOfHost) }, (_, at) => 1 + at * roundsOfHost)
  const batches = firsts.map((first) => ({ first, last: Math.min(rounds, first + roundsOfHost - 1) }))
  const named = test.for(batches)
  named(
    `takes nothing that lives in rounds $first to $last of ${parallel}`,
    { timeout: 590_000 },
    async (batch, { host }) => {
      writeNetworks(host)
      // The official firewall plugin fails where another ADD makes its first chain in the same moment.
      await host.output(['ip', 'netns', 'add', 'first'])
      for (const name of both) {
        await attach(host, name, 'first')
        expect(await detach(host, name, 'first')).toMatchObject({ status: 0 })
      }
      for (let round = batch.first; round <= batch.last; round++) await raceRound(host, round)
      // What was still held by somebody a moment ago goes in the end.
      const isEmpty = async () => {
        await grow(host)
        await host.exec([program, 'gc', '--conf', conf])
        return (await ask<{ attachments: object[] }>(host, ['ps'])).attachments.length === 0
      }
      await until('all that is dead is gone', isEmpty, 60_000)
    },
  )
})

/** Those who lived in the round before are this round's dead. */
async function raceRound(host: Host, round: number): Promise<void> {
  const names = Array.from({ length: parallel }, (_, at) => `c${round}-${at}`)
  const networkOf = (at: number): Network => (at % 2 === 0 ? 'podwire' : 'official')
  const staysAt = (at: number) => at % 4 < 2
  const namespaces = (verb: 'add' | 'delete') =>
    host.output(['ip', '-batch', '-'], { stdin: names.map((name) => `netns ${verb} ${name}\n`).join('') })
  await namespaces('add')
  let isDone = false
  const collecting = (async () => {
    for (let runs = 0; runs === 0 || !isDone; runs++) {
      // All is old enough to be taken, so that only proof keeps what lives.
      await grow(host)
      await host.exec([program, 'gc', '--conf', conf])
    }
  })()
  await Promise.all(
    names.map(async (name, at) => {
      await attach(host, networkOf(at), name)
      if (!staysAt(at)) expect(await detach(host, networkOf(at), name)).toMatchObject({ status: 0 })
    }),
  )
  isDone = true
  await collecting
  const { attachments } = await ask<{ attachments: Told[] }>(host, ['ps'])
  const expected = names.filter((_, at) => staysAt(at)).map((name) => ['alive', `/run/netns/${name}`])
  const own = attachments.filter(({ netns }) => names.includes(netns.slice('/run/netns/'.length)))
  expect(own.map(({ state, netns }) => [state, netns]).sort(), `round ${round}`).toEqual(expected.sort())
  const state = await stateOf(host)
  for (const { addresses, netns } of own) {
    const [address = ''] = (addresses[0] ?? '').split('/')
    expect(await host.output(['nsenter', `--net=${netns}`, 'ip', '-o', 'addr'])).toContain(`${address}/24`)
    const network = address.startsWith(networks.podwire) ? 'podwire' : 'official'
    expect(readFileSync(host.path(`/var/lib/cni/networks/${network}/${address}`), 'utf8')).toContain('cnitool-')
    expect(leftOf(state, address).length, address).toBeGreaterThan(2)
  }
  await namespaces('delete')
}
