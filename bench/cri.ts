import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { homedir, tmpdir } from 'node:os'
import { delimiter, join, resolve } from 'node:path'
import { callRuntime } from '../conformance/clients/cri/call.js'
import type { MessageValue } from '../conformance/clients/cri/protobuf.js'
import { until } from '../conformance/harness/process.js'
import type { Config } from './networks.js'
import { type Cost, compared, type Line, type Section } from './report.js'

// Pods up and down through containerd's CRI, as kubelet asks for them: examples/containerd.conflist as a list, as a
// chain, and as a list of the official plugins, each on a host of its own.

export async function criRows(): Promise<Section> {
  const lines: Line[] = []
  for (const runtime of runtimes()) lines.push(...(await rowsOf(runtime)))
  const missing = lines.length > 0 ? [] : [`Not measured, for want of ${commands.join(', ')} or of ${accounts}.`]
  for (const one of missing) console.error(`SKIPPED cri: ${one}`)
  const remark = [
    `examples/containerd.conflist, ${pods} pods. Up: all at once. Down: as kubelet does, which stops a pod's sandbox`,
    'when the pod ends, half of them once more when it sees that, and each when it collects it, one after the other;',
    'so there are 3.5 DELs a pod. CPU is of one pod, of containerd, its shims, runc and the plugins together. "Of the',
    'network": what is more than with pods on the host\'s network, which need no plugin.',
    ...missing,
  ].join(' ')
  return { title: `${pods} pods through CRI`, remark, lines }
}

// --- internal

const pods = Number(process.env['BENCH_PODS'] ?? 50)
const rounds = Math.max(3, Math.floor(Number(process.env['BENCH_ROUNDS'] ?? 21) / 7))
/** Where the kernel counts the CPU time of a group's processes (cgroup v1). */
const accounts = '/sys/fs/cgroup/cpuacct'
const commands = ['containerd', 'ctr', 'runc', 'busybox', 'jq', 'curl']
const forms = ['list', 'chain', 'official'] as const
type Form = (typeof forms)[number]
const directions = ['up', 'down'] as const
type Costs = Record<(typeof directions)[number], Cost[]>

/** A containerd: the machine's own, and the one of the clusters that tests make, where it has been built. */
interface Runtime {
  readonly version: string
  /** Before the machine's own programs. */
  readonly path: string
}

function runtimes(): readonly Runtime[] {
  if (!existsSync(accounts)) return []
  const own = process.env['PATH'] ?? ''
  const cache =
    process.env['PODWIRE_CLUSTER_CACHE'] ??
    join(process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'podwire-cluster')
  const paths = [own, ...(existsSync(`${cache}/containerd/containerd`) ? [`${cache}/containerd:${own}`] : [])]
  return paths
    .filter((path) => commands.every((one) => isFound(one, path)))
    .map((path) => ({ version: versionOf(path), path }))
}

function isFound(command: string, path: string): boolean {
  return path.split(delimiter).some((folder) => existsSync(join(folder, command)))
}

/** "containerd github.com/containerd/containerd 1.6.20~ds1 COMMIT" */
function versionOf(path: string): string {
  const words = execFileSync('containerd', ['--version'], { encoding: 'utf8', env: { PATH: path } }).split(' ')
  return words[2]?.split('~')[0] ?? ''
}

async function rowsOf(runtime: Runtime): Promise<readonly Line[]> {
  const hosts = new Map<Form, PodHost>()
  const costs = { list: newCosts(), chain: newCosts(), official: newCosts(), host: newCosts() }
  try {
    for (const form of forms) hosts.set(form, await PodHost.create(form, runtime))
    for (let round = -1; round < rounds; round++) {
      // The first ones make what the others find.
      const count = round < 0 ? 2 : pods
      for (const [form, host] of hosts) {
        const found = await host.upAndDown(`${form}${round + 1}`, { network: 'POD', count })
        if (round >= 0) for (const way of directions) costs[form][way].push(found[way])
      }
      const found = await (hosts.get('official') as PodHost).upAndDown(`host${round + 1}`, { network: 'NODE', count })
      if (round >= 0) for (const way of directions) costs.host[way].push(found[way])
    }
  } finally {
    for (const host of hosts.values()) await host.remove()
  }
  return directions.flatMap((way) =>
    (['list', 'chain'] as const).flatMap((form) => {
      const what = `containerd ${runtime.version}, ${form}, ${pods} pods ${way}`
      const beyond = (of: Costs) => of[way].map((one, round) => difference(one, costs.host[way][round] as Cost))
      return [
        compared(what, costs[form][way], costs.official[way]),
        compared(`${what}, of the network`, beyond(costs[form]), beyond(costs.official)),
      ]
    }),
  )
}

function newCosts(): Costs {
  return { up: [], down: [] }
}

function difference(one: Cost, other: Cost): Cost {
  return { ms: one.ms - other.ms, cpu: one.cpu - other.cpu }
}

/** A host with containerd, and a network of one of the forms. */
class PodHost {
  readonly #folder: string
  readonly #cell: ChildProcess

  private constructor(folder: string, cell: ChildProcess) {
    this.#folder = folder
    this.#cell = cell
  }

  static async create(form: Form, { path }: Runtime): Promise<PodHost> {
    const folder = mkdtempSync(join(tmpdir(), 'podwire-cri-'))
    mkdirSync(`${folder}/net.d`)
    writeFileSync(`${folder}/net.d/10-bench.conflist`, JSON.stringify(conflist(form)))
    const official = resolve(process.env['PODWIRE_OFFICIAL'] ?? 'dist/tools', 'official')
    const cell = spawn(resolve('conformance/clients/cell'), [resolve('bench/cri-host'), `${folder}/socket`], {
      env: {
        PATH: path,
        CLIENTS: resolve('conformance/clients'),
        PODWIRE_BIN: form === 'official' ? official : resolve('dist/bin'),
        PODWIRE_CONFIGURATION: `${folder}/net.d`,
      },
      stdio: ['pipe', 'pipe', 'inherit'],
    })
    const host = new PodHost(folder, cell)
    try {
      await Promise.race([
        once(cell.stdout, 'data'),
        once(cell, 'close').then(() => failed(`no containerd for ${form}`)),
      ])
      await until(
        'the network is ready',
        async () => JSON.stringify(await host.#call('Status', {})).includes(ready),
        20_000,
      )
      return host
    } catch (thrown) {
      await host.remove()
      throw thrown
    }
  }

  /** What so many pods cost until all run, and until none is left. */
  async upAndDown(
    name: string,
    { network, count }: { network: 'POD' | 'NODE'; count: number },
  ): Promise<Readonly<Record<keyof Costs, Cost>>> {
    const names = Array.from({ length: count }, (_, index) => `${name}-${index}`)
    let ids: readonly string[] = []
    const up = await this.#cost(async () => {
      ids = await Promise.all(names.map((one) => this.#run(one, network)))
    })
    const down = await this.#cost(async () => {
      await Promise.all(ids.map((id, index) => this.#end(id, 1 + (index % 2))))
      for (const id of ids) {
        await this.#end(id, 1)
        await this.#call('RemovePodSandbox', { pod_sandbox_id: id })
      }
    })
    return { up, down }
  }

  async remove(): Promise<void> {
    const { exitCode, signalCode } = this.#cell
    const closed = exitCode === null && signalCode === null ? once(this.#cell, 'close') : undefined
    this.#cell.stdin?.end()
    await closed
    rmSync(this.#folder, { recursive: true })
  }

  async #run(name: string, network: 'POD' | 'NODE'): Promise<string> {
    const security_context = { namespace_options: { network } }
    const config = { metadata: { name, uid: `uid-${name}`, namespace: 'default' }, linux: { security_context } }
    const { pod_sandbox_id } = await this.#call('RunPodSandbox', { config })
    return String(pod_sandbox_id)
  }

  async #end(id: string, times: number): Promise<void> {
    for (let time = 0; time < times; time++) await this.#call('StopPodSandbox', { pod_sandbox_id: id })
  }

  #call(method: Parameters<typeof callRuntime>[1], request: MessageValue): Promise<MessageValue> {
    return callRuntime(`${this.#folder}/socket`, method, request)
  }

  /** Milliseconds, and CPU milliseconds a pod. */
  async #cost(work: () => Promise<void>): Promise<Cost> {
    const [before, began] = [this.#cpu(), performance.now()]
    await work()
    return { ms: performance.now() - began, cpu: (this.#cpu() - before) / pods }
  }

  /** CPU milliseconds so far of all that ever ran in the cell, by its group. */
  #cpu(): number {
    return Number(readFileSync(`${accounts}/cell-${this.#cell.pid}/cpuacct.usage`, 'utf8')) / 1e6
  }
}

const ready = '"type":"NetworkReady","status":true'

function failed(what: string): never {
  throw new Error(what)
}

function conflist(form: Form): object {
  const list = JSON.parse(readFileSync('examples/containerd.conflist', 'utf8')) as { plugins: readonly Config[] }
  if (form !== 'chain') return list
  const capabilities = Object.assign({}, ...list.plugins.map((one) => one['capabilities'] ?? {})) as object
  return { ...list, plugins: [{ type: 'chain', capabilities, plugins: list.plugins }] }
}
