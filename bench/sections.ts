import { execFileSync } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import { chainRows } from './chain.js'
import { criRows } from './cri.js'
import { both, type Configs, firstPort, podmanChain, runChain } from './lists.js'
import { type Call, descendantsCpu, median, ratio, type Suite, timed, timedTogether } from './measure.js'
import { memory } from './memory.js'
import { bridge, hostLocal } from './networks.js'
import { beyondVersion } from './nothing.js'
import { publishing } from './portmap.js'
import { type Cost, compared, type Line, type Section } from './report.js'
import { traffic } from './traffic.js'

const suites: readonly Suite[] = ['podwire', 'official']
const netns = '/run/netns/bench'
const rounds = Number(process.env['BENCH_ROUNDS'] ?? 21)

/** ADD and DEL of one plugin or chain in turn: podwire, official, podwire, official, ... */
function addAndDel(what: string, chain: readonly Configs[], options: { rounds?: number } = {}): readonly Line[] {
  const costs = newCosts()
  for (let round = -2; round < (options.rounds ?? rounds); round++) {
    for (const suite of suites) {
      for (const verb of ['ADD', 'DEL'] as const) {
        const before = descendantsCpu()
        const ms = runChain(suite, verb, chain, `${suite}-${round + 2}`)
        if (round >= 0) costs[verb][suite].push({ ms, cpu: descendantsCpu() - before })
      }
    }
  }
  return (['ADD', 'DEL'] as const).map((verb) =>
    compared(`${what}: ${verb}`, costs[verb].podwire, costs[verb].official),
  )
}

const newCosts = () => ({
  ADD: { podwire: [] as Cost[], official: [] as Cost[] },
  DEL: { podwire: [] as Cost[], official: [] as Cost[] },
})

export const sections: Readonly<Record<string, () => Promise<Section> | Section>> = {
  start: () => {
    const times = { bare: [] as number[], podwire: [] as number[], official: [] as number[] }
    for (let round = -2; round < rounds * 2; round++) {
      const one = { bare: bareStart(), podwire: version('podwire'), official: version('official') }
      if (round >= 0) for (const key of ['bare', 'podwire', 'official'] as const) times[key].push(one[key])
    }
    const line = (what: string, theirs: readonly number[]) => ({
      what,
      podwire: median(times.podwire),
      official: median(theirs),
      ratio: ratio(times.podwire, theirs),
    })
    return {
      title: 'Start: VERSION',
      lines: [
        line('against the official bridge', times.official),
        line('against a bare program on the same Node', times.bare),
      ],
    }
  },

  bridge: () => ({
    title: 'bridge with host-local',
    lines: [
      ...addAndDel('no masquerade', [both((suite) => bridge(suite))]),
      ...addAndDel('ipMasq, each with its default backend', [both((suite) => bridge(suite, { ipMasq: true }))]),
      ...addAndDel('ipMasq, both on nftables', [
        both((suite) => bridge(suite, { ipMasq: true, ipMasqBackend: 'nftables' })),
      ]),
      ...addAndDel('ipMasq, both on iptables', [
        both((suite) => bridge(suite, { ipMasq: true, ipMasqBackend: 'iptables' })),
      ]),
    ],
  }),

  leases: () => {
    const lines: Line[] = []
    for (const count of [0, 1_000, 10_000, 100_000]) {
      for (const suite of suites) fillLeases(suite, count)
      const configs = both((suite) =>
        hostLocal(suite, { dataDir: `/run/bench/${suite}-${count}`, subnet: leaseSubnet }),
      )
      const title = `host-local, ${count.toLocaleString('en')} leases`
      lines.push(...addAndDel(title, [configs], { rounds: count > 10_000 ? 7 : rounds }))
    }
    return { title: 'host-local alone', lines }
  },

  portmap: publishing,

  chain: () => ({
    title: 'bridge (ipMasq), portmap (2 ports), firewall, tuning: the default chain of Podman',
    lines: [
      ...addAndDel('official on its default backends', podmanChain(2, firstPort)),
      ...addAndDel('official portmap on nftables', podmanChain(2, firstPort, { backend: 'nftables' })),
    ],
  }),

  parallel: async () => {
    const lines: Line[] = []
    for (const count of [20, 100]) {
      for (const [what, more] of [
        ['no masquerade', {}],
        ['ipMasq', { ipMasq: true }],
      ] as const) {
        lines.push(...(await addAndDelTogether(`${count} at once, bridge, ${what}`, count, more)))
      }
    }
    return { title: 'Many at once (wall time until all are done, CPU time of one call)', lines }
  },

  one: chainRows,

  nothing: beyondVersion,

  cri: criRows,

  traffic,

  memory,
}

// --- internal

function version(suite: Suite): number {
  return timed({ suite, verb: 'VERSION', config: { type: 'bridge' }, containerID: 'x', netns }).ms
}

function bareStart(): number {
  const began = performance.now()
  execFileSync('dist/bench/bare', { input: '', env: {} })
  return performance.now() - began
}

const leaseSubnet = '10.128.0.0/15'

/** Leases as a suite leaves them: the files of the first `count` addresses, and the cursor behind them. */
function fillLeases(suite: Suite, count: number): void {
  const folder = `/run/bench/${suite}-${count}/bench-${suite}`
  mkdirSync(folder, { recursive: true })
  const address = (index: number) => `10.${128 + (index >> 16)}.${(index >> 8) & 255}.${index & 255}`
  for (let index = 2; index < count + 2; index++)
    writeFileSync(`${folder}/${address(index)}`, `held-${index}\r\neth0`, { mode: 0o600 })
  if (count > 0) writeFileSync(`${folder}/last_reserved_ip.0`, address(count + 1), { mode: 0o600 })
}

async function addAndDelTogether(what: string, count: number, more: object): Promise<readonly Line[]> {
  const names = Array.from({ length: count }, (_, index) => `many${index}`)
  for (const name of names) execFileSync('ip', ['netns', 'add', name])
  const costs = newCosts()
  for (let round = 0; round < 3; round++) {
    for (const suite of suites) {
      const config = bridge(suite, more)
      for (const verb of ['ADD', 'DEL'] as const) {
        const calls = names.map(
          (name): Call => ({ suite, verb, config, containerID: name, netns: `/run/netns/${name}` }),
        )
        const before = descendantsCpu()
        const ms = await timedTogether(calls)
        costs[verb][suite].push({ ms, cpu: (descendantsCpu() - before) / count })
      }
    }
  }
  for (const name of names) execFileSync('ip', ['netns', 'del', name])
  return (['ADD', 'DEL'] as const).map((verb) =>
    compared(`${what}: ${verb}`, costs[verb].podwire, costs[verb].official),
  )
}
