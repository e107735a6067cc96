import { lstatSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { describe, expect } from 'vitest'
import { test } from '../harness/fixture.js'
import type { Host } from '../harness/host.js'
import { Killer } from '../harness/killer.js'
import type { Suite } from '../harness/locations.js'
import { runPlugin, runTraced, startPlugin, type Verb } from '../harness/plugin.js'
import { until } from '../harness/process.js'

const suites = ['podwire', 'official'] as const
const dual = [[{ subnet: '10.1.2.0/24' }], [{ subnet: 'fd00::/64' }]]
const other = { podwire: 'official', official: 'podwire' } as const

interface Request {
  suite: Suite
  id: string
  ranges?: object[][]
  args?: string
  dataDir?: string
}

function callOf(command: Verb, { suite, id, ranges = dual, args, dataDir = '/var/lib/leases' }: Request) {
  const config = { cniVersion: '1.0.0', name: 'net', ipam: { type: 'host-local', dataDir, ranges } }
  return {
    suite,
    plugin: 'host-local',
    command,
    config,
    containerID: id,
    netns: '/run/netns/none',
    ...(args ? { args } : {}),
  }
}

/** One call that must succeed; an ADD's addresses. */
async function succeed(host: Host, command: Verb, request: Request): Promise<string[]> {
  const { status, stdout, stderr } = await runPlugin(host, callOf(command, request))
  expect(status, `${request.suite} ${command} ${request.id}: ${stdout}${stderr}`).toBe(0)
  if (stdout === '') return []
  return JSON.parse(stdout).ips.map(({ address }: { address: string }) => address)
}

/** Every file of the network's directory with its mode and content. */
function onDisk(host: Host, dataDir = '/var/lib/leases'): Record<string, string> {
  const directory = host.path(`${dataDir}/net`)
  const entries = readdirSync(directory).map((name): [string, string] => {
    const path = `${directory}/${name}`
    return [name, `${(statSync(path).mode & 0o777).toString(8)} ${readFileSync(path, 'latin1')}`]
  })
  return Object.fromEntries(entries.sort())
}

function leasesOf(host: Host): string[] {
  return Object.keys(onDisk(host)).filter((name) => !name.startsWith('l'))
}

describe('one directory, two suites', () => {
  for (const suite of suites) {
    test(`what ${suite} reserves, the other sees, honours, checks and frees`, async ({ host }) => {
      const next = { suite: other[suite], id: 'c2' }
      expect(await succeed(host, 'ADD', { suite, id: 'c1' })).toEqual(['10.1.2.2/24', 'fd00::2/64'])
      expect(await succeed(host, 'ADD', next)).toEqual(['10.1.2.3/24', 'fd00::3/64'])
      await succeed(host, 'CHECK', { suite: other[suite], id: 'c1' })
      await succeed(host, 'CHECK', { suite, id: 'c2' })
      await succeed(host, 'DEL', { suite: other[suite], id: 'c1' })
      expect(leasesOf(host)).toEqual(['10.1.2.3', 'fd00::3'])
      await succeed(host, 'DEL', { suite, id: 'c2' })
      expect(leasesOf(host)).toEqual([])
    })
  }

  test('the same calls leave the same files, byte for byte', async ({ host }) => {
    const ranges = [
      [{ subnet: '10.1.2.0/29' }, { subnet: '10.1.3.0/29', gateway: '10.1.3.4' }],
      [{ subnet: 'fd00::/125' }],
    ]
    const steps: [Verb, string, string?][] = [
      ['ADD', 'c1'],
      ['ADD', 'c2', 'IP=10.1.3.2'],
      ['ADD', 'c3'],
      ['DEL', 'c1'],
      ['ADD', 'c4', 'IP=fd00::7'],
      ['ADD', 'c5'],
      ['DEL', 'c3'],
      ['ADD', 'c6', 'IP=10.1.2.6'],
      ['ADD', 'c7'],
      ['DEL', 'never'],
    ]
    for (const [command, id, args] of steps) {
      const [own, theirs] = await Promise.all(
        suites.map((suite) => {
          return succeed(host, command, { suite, id, ranges, dataDir: `/var/lib/${suite}`, ...(args ? { args } : {}) })
        }),
      )
      expect(own, `${command} ${id}`).toEqual(theirs)
      expect(onDisk(host, '/var/lib/podwire')).toEqual(onDisk(host, '/var/lib/official'))
    }
  })

  const orders = ([...suites, 'official-1.9.1'] as const).flatMap((first) =>
    suites.flatMap((between) => suites.map((last) => [first, between, last] as const)),
  )
  test.for(orders)(
    'a lease of %s, rewritten in the old format before and after an ADD of %s, is released by %s',
    async ([first, between, last], { host }) => {
      const rewrite = (id: string) => {
        for (const name of leasesOf(host)) {
          const path = host.path(`/var/lib/leases/net/${name}`)
          if (readFileSync(path, 'latin1').startsWith(`${id}\r\n`)) writeFileSync(path, id)
        }
      }
      for (const id of ['early', 'late', 'living']) await succeed(host, 'ADD', { suite: first, id })
      rewrite('early')
      await succeed(host, 'ADD', { suite: between, id: 'c4' })
      rewrite('late')
      for (const id of ['late', 'early']) await succeed(host, 'DEL', { suite: last, id })
      await succeed(host, 'CHECK', { suite: last, id: 'living' })
      expect(leasesOf(host)).toEqual(['10.1.2.4', '10.1.2.5', 'fd00::4', 'fd00::5'])
      for (const id of ['living', 'c4']) await succeed(host, 'DEL', { suite: last, id })
      expect(leasesOf(host)).toEqual([])
    },
  )

  test('the same ranges are refused, and the same accepted', async ({ host }) => {
    const subnet = '10.1.2.0/24'
    const rows: [range: object, isAccepted: boolean][] = [
      [{ subnet, gateway: '10.1.2.255' }, true],
      [{ subnet, gateway: '::ffff:10.1.2.9' }, true],
      [{ subnet, gateway: '10.1.3.1' }, false],
      [{ subnet, gateway: '0.0.0.0' }, false],
      [{ subnet, gateway: 'fd00::1' }, false],
      [{ subnet: 'fd00::/64', gateway: '::' }, false],
      [{ subnet: 'fd00::/64', gateway: '10.1.2.1' }, false],
      [{ subnet, rangeStart: '10.1.2.254' }, true],
      [{ subnet, rangeStart: '10.1.2.255' }, false],
      [{ subnet, rangeStart: '10.1.2.9', rangeEnd: '10.1.2.8' }, false],
      [{ subnet, rangeEnd: '10.1.2.0' }, false],
      [{ subnet, rangeStart: '10.1.2.0', rangeEnd: '10.1.2.0' }, true],
    ]
    for (const [range, isAccepted] of rows) {
      for (const suite of suites) {
        const call = callOf('ADD', { suite, id: 'c1', ranges: [[range]], dataDir: `/var/lib/${suite}` })
        const { status, stdout } = await runPlugin(host, call)
        expect(status, `${suite} ${JSON.stringify(range)}: ${stdout}`).toBe(isAccepted ? 0 : 1)
        await succeed(host, 'DEL', { suite, id: 'c1', dataDir: `/var/lib/${suite}` })
      }
    }
  })

  test('refusals are told in the official words', async ({ host }) => {
    const rows: [string, string][] = [
      ['10.1.2.0/30', ''],
      ['10.1.2.0/29', 'IP=10.1.2.1'],
      ['10.1.2.0/29', 'IP=10.1.2.2'],
      ['10.1.2.0/29', 'IP=10.9.9.9'],
    ]
    const tiny = [[{ subnet: '10.1.2.0/30' }]]
    for (const suite of suites)
      await succeed(host, 'ADD', { suite, id: 'c1', ranges: tiny, dataDir: `/var/lib/${suite}` })
    for (const [subnet, args] of rows) {
      const ranges = [[{ subnet }]]
      const [own, theirs] = await Promise.all(
        suites.map(async (suite) => {
          const call = callOf('ADD', { suite, id: 'c2', ranges, args, dataDir: `/var/lib/${suite}` })
          const { status, stdout } = await runPlugin(host, call)
          expect(status).toBe(1)
          return JSON.parse(stdout).msg as string
        }),
      )
      expect(own).toContain(theirs?.replace('failed to allocate for range 0: ', ''))
    }
  })
})

describe('many at once', () => {
  test.for([
    ['podwire alone', ['podwire', 'podwire']],
    ['both suites mixed', ['podwire', 'official']],
  ] as [string, Suite[]][])(
    '50 ADDs get 50 addresses of each family, 50 DELs leave none: %s',
    async ([, mix], { host }) => {
      const requests = Array.from({ length: 50 }, (_, number) => ({
        suite: mix[number % 2] as (typeof suites)[number],
        id: `c${number}`,
      }))
      const given = (await Promise.all(requests.map((request) => succeed(host, 'ADD', request)))).flat()
      expect(new Set(given).size).toBe(100)
      expect(leasesOf(host)).toHaveLength(100)
      await Promise.all(
        requests.map(({ suite, id }) =>
          succeed(host, 'DEL', { suite: mix.includes('official') ? other[suite] : suite, id }),
        ),
      )
      expect(leasesOf(host)).toEqual([])
    },
  )

  test('ADDs and DELs in a range with just enough room', async ({ host }) => {
    const ranges = [[{ subnet: '10.1.2.0/28' }]]
    const workers = Array.from({ length: 13 }, async (_, worker) => {
      const suite = suites[worker % 2] as (typeof suites)[number]
      for (let round = 0; round < 3; round++) {
        const request = { suite, id: `w${worker}-${round}`, ranges }
        expect(await succeed(host, 'ADD', request)).toHaveLength(1)
        await succeed(host, 'DEL', { ...request, suite: other[suite] })
      }
    })
    await Promise.all(workers)
    expect(leasesOf(host)).toEqual([])
  })
})

describe('kill -9', () => {
  test('at any moment of an ADD leaves only whole leases, and the DEL after it nothing', async ({ host }) => {
    const killer = await Killer.timing(() => succeed(host, 'ADD', { suite: 'podwire', id: 'kept' }))
    const seen = { none: 0, some: 0 }
    for (let round = 0; round < 60; round++) {
      const id = `k${round}`
      await killer.kill(host, callOf('ADD', { suite: 'podwire', id }))
      const files = Object.entries(onDisk(host)).filter(([name]) => /^[\d.]+$|:/.test(name))
      for (const [name, text] of files) expect(text, name).toMatch(/^600 (kept|k\d+)\r\neth0$/)
      if (files.length > 2) seen.some++
      else seen.none++
      if (round % 3 === 0) await succeed(host, 'ADD', { suite: 'podwire', id })
      await succeed(host, 'DEL', { suite: round % 2 ? 'official' : 'podwire', id })
      expect(leasesOf(host).filter((name) => !name.startsWith('.'))).toEqual(['10.1.2.2', 'fd00::2'])
    }
    await succeed(host, 'DEL', { suite: 'podwire', id: 'kept' })
    expect(leasesOf(host)).toEqual([])
    killer.expectHits()
    expect(seen.none, JSON.stringify(seen)).toBeGreaterThan(0)
    expect(seen.some, JSON.stringify(seen)).toBeGreaterThan(0)
  })

  test('of whoever holds the lock frees it', async ({ host }) => {
    await succeed(host, 'ADD', { suite: 'podwire', id: 'c1' })
    const holder = host.start(['flock', '-x', '/var/lib/leases/net/lock', 'sh', '-c', 'echo held; exec cat'], {
      keepOpen: true,
    })
    await new Promise((resolve) => holder.child.stdout?.once('data', resolve))
    const waiting = succeed(host, 'ADD', { suite: 'podwire', id: 'c2' })
    for (const line of host.processes().filter((one) => / cat$/.test(one)))
      process.kill(Number.parseInt(line, 10), 'SIGKILL')
    expect(await waiting).toEqual(['10.1.2.3/24', 'fd00::3/64'])
    await holder.finished
  })
})

/** Runtimes repeat a DEL several times a pod, and a GC again and again. */
describe.each(['DEL', 'GC'] as const)('a %s that finds no lease to free', (verb) => {
  const lock = '/var/lib/leases/net/lock'
  const calls = 'trace=flock,open,openat,unlink,rename,symlink,mkdir,utimensat,clone,clone3,vfork'

  /** The call that frees what a container has; a GC finds c1 alive, unless it is about that. */
  function freeing(id: string) {
    const call = callOf(verb, { suite: 'podwire', id })
    const alive = ['c1'].filter((one) => one !== id).map((containerID) => ({ containerID, ifname: 'eth0' }))
    const collecting = { ...call.config, cniVersion: '1.1.0', 'cni.dev/valid-attachments': alive }
    return verb === 'GC' ? { ...call, config: collecting } : call
  }

  async function free(host: Host, id: string) {
    const { status, stdout, stderr } = await runPlugin(host, freeing(id))
    expect({ status, stdout, stderr }).toEqual({ status: 0, stdout: '', stderr: '' })
  }

  /** What such a call does with the lock and below the directory of leases, and which processes it starts. */
  async function traced(host: Host, id: string) {
    const call = freeing(id)
    const { status, stdout, stderr, calls: seen } = await runTraced(host, call, ['-y', '-e', calls])
    expect({ status, stdout, stderr }).toEqual({ status: 0, stdout: '', stderr: '' })
    const lines = seen.split('\n')
    return {
      locks: lines.flatMap((line) => /^flock\(.*, (LOCK_\S+)\) += (\S+)/.exec(line)?.slice(1).join(' ') ?? []),
      changes: lines.filter(
        (line) =>
          /\/var\/lib/.test(line) && /^(unlink|rename|symlink|mkdir|utimensat)|O_(RDWR|WRONLY|CREAT)/.test(line),
      ),
      processes: lines.filter((line) => /^(clone3?|vfork)\(/.test(line)),
    }
  }

  /** Times of all that a change would touch, in nanoseconds. */
  const times = (host: Host) =>
    ['', '/lock', '/../.podwire/net', '/../.podwire/net/=seal'].map((name) => {
      const { mtimeNs, ctimeNs } = lstatSync(host.path(`/var/lib/leases/net${name}`), { bigint: true })
      return `${name} ${mtimeNs} ${ctimeNs}`
    })

  const asked = { locks: ['LOCK_SH|LOCK_NB 0'], changes: [], processes: [] }

  /** Holds the lock as `flock` has it with an option, does as the shell says when it is told to, and ends. */
  async function held(host: Host, option: '-s' | '-x', then: string) {
    const holder = host.start(['flock', option, lock, 'sh', '-c', `echo held; read line; ${then}`], { keepOpen: true })
    await new Promise((resolve) => holder.child.stdout?.once('data', resolve))
    return async () => {
      holder.child.stdin?.end('go on\n')
      expect((await holder.finished).status).toBe(0)
    }
  }

  test('keeps nobody out and writes nothing, also where others read', async ({ host }) => {
    await succeed(host, 'ADD', { suite: 'podwire', id: 'c1' })
    const before = times(host)
    expect(await traced(host, 'nothing')).toEqual(asked)
    const letGo = await held(host, '-s', ':')
    expect(await traced(host, 'nothing')).toEqual(asked)
    expect(times(host)).toEqual(before)
    await letGo()
  })

  test('makes no lock where there is none', async ({ host }) => {
    await succeed(host, 'ADD', { suite: 'podwire', id: 'c1' })
    rmSync(host.path(lock))
    // That changed the directory: once all leases are read, under a lock.
    await free(host, 'nothing')
    expect(await traced(host, 'nothing')).toEqual(asked)
  })

  test('waits for who holds the lock, and frees what that gave it', async ({ host }) => {
    await succeed(host, 'ADD', { suite: 'podwire', id: 'c1' })
    const letGo = await held(host, '-x', "printf 'late\\r\\neth0' >/var/lib/leases/net/10.1.2.9")
    const waiting = startPlugin(host, freeing('late'))
    await until('the call waits', () => host.processes().some((one) => / flock -x -w /.test(one)))
    await letGo()
    expect((await waiting.finished).status).toBe(0)
    expect(leasesOf(host)).toEqual(['10.1.2.2', 'fd00::2'])
  })

  test('is none where the official plugin gave one behind the index, or the index is garbled', async ({ host }) => {
    await succeed(host, 'ADD', { suite: 'podwire', id: 'c1' })
    await succeed(host, 'ADD', { suite: 'official', id: 'c2' })
    await free(host, 'c2')
    expect(leasesOf(host)).toEqual(['10.1.2.2', 'fd00::2'])
    const record = host.path('/var/lib/leases/.podwire/net/c1:eth0')
    rmSync(record)
    writeFileSync(record, '')
    await free(host, 'c1')
    expect(leasesOf(host)).toEqual([])
  })
})
