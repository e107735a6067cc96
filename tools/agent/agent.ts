import { isObject } from '../../shared/values/object.js'
import { textIn } from '../node/reader.js'
import type { Api } from './api.js'
import { type ClusterNode, isSameNode, prunedNode } from './cluster.js'
import type { Collected, Collector } from './collector.js'
import { Events } from './events.js'
import { Follower, jittered, type Page, pause, statusOf, wordsOf } from './follow.js'
import { letGarbageGo } from './garbage.js'
import type { Metrics } from './metrics.js'
import type { AgentNode } from './node.js'
import type { Problem } from './problem.js'
import { configurationIn, readSettings, type Settings, usualSettings } from './settings.js'

export interface AgentOptions {
  readonly api: Api
  readonly node: AgentNode
  /** The name of this node. */
  readonly name: string
  readonly configMap: { readonly namespace: string; readonly name: string }
  readonly metrics: (heard: () => number) => Metrics
  /** Milliseconds between looks at what stands, where nothing has changed. */
  readonly every: number
  /** Takes what dead pods left, where the settings say so, and how many milliseconds later again. */
  readonly collector: Collector
  readonly collectEvery: number
  readonly log: Log
  /** The address of the node at which its metrics are; undefined where that is no address of a link. */
  readonly address?: string | undefined
  /** Hears the settings when they have changed. */
  readonly configured?: (settings: Settings) => void
}

export type Log = (level: Settings['logLevel'], text: string) => void

/** Keeps a node what the cluster says it should be, until it is stopped. */
export class Agent {
  readonly #options: AgentOptions
  readonly #events: Events
  readonly #nodes: Follower<ClusterNode>
  readonly #configMaps: Follower<string>
  readonly metrics: Metrics
  #all: readonly ClusterNode[] | undefined
  #settings: Settings | undefined
  /** The text that the settings are of. */
  #text: string | undefined
  #wrong: readonly Problem[] = []
  #isForbidden = false
  #statusProblem: readonly Problem[] = []
  #collection: readonly Problem[] = []
  #isReady = false
  #wake: (() => void) | undefined
  #isDue = true
  #isGone = false
  /** The names of nodes that are other than at the last look. */
  readonly #fresh = new Set<string>()
  /** When the node is looked at because of them; milliseconds of performance.now(), as all times here. */
  #dueAt = Number.POSITIVE_INFINITY
  /** How long a look takes. */
  #takes = 0
  #isStopped = false

  constructor(options: AgentOptions) {
    this.#options = options
    const { api, configMap, log } = options
    this.#events = new Events({
      api,
      node: options.name,
      log: (text) => log('warn', text),
      withheld: (reason) => this.metrics.withheld(reason),
    })
    this.#nodes = new Follower({
      config: api.config,
      path: '/api/v1/nodes',
      query: {},
      list: async (next) => pageOf(await api.get('/api/v1/nodes', { limit: String(pageSize), continue: next })),
      keep: prunedNode,
      isSame: isSameNode,
      changed: (changed) => {
        this.#all = undefined
        if (changed === undefined || changed === options.name) return this.#changed()
        this.#fresh.add(changed)
        this.#wake?.()
      },
      failed: (why, code) => this.#failed('nodes', why, code),
    })
    const path = `/api/v1/namespaces/${configMap.namespace}/configmaps`
    const query = { fieldSelector: `metadata.name=${configMap.name}` }
    this.#configMaps = new Follower<string>({
      config: api.config,
      path,
      query,
      list: async () => pageOf(await api.get(path, query)),
      keep: configurationIn,
      isSame: (one, other) => one === other,
      changed: () => this.#changed(),
      failed: (why, code) => {
        this.#isForbidden = code === '403'
        this.#failed(`the ConfigMap ${configMap.namespace}/${configMap.name}`, why, code)
        if (this.#isForbidden) this.#changed()
      },
    })
    this.metrics = options.metrics(() => this.#nodes.heard)
  }

  /** Whether pods can be attached on the node. */
  get isReady(): boolean {
    return this.#isReady
  }

  /** Whether the node has got another address than that at which its metrics are: then the agent has ended. */
  get isGone(): boolean {
    return this.#isGone
  }

  async run(): Promise<void> {
    void this.#nodes.run()
    void this.#configMaps.run()
    void this.#collect()
    let looked = 0
    while (!this.#isStopped) {
      if (this.#fresh.size > 0) this.#lookSoon()
      const now = performance.now()
      const isLate = now - looked >= this.#options.every || now >= this.#dueAt
      if (this.#isDue || isLate || (looked > 0 && this.#options.node.hasOtherRules())) {
        this.#isDue = false
        this.#fresh.clear()
        this.#dueAt = Number.POSITIVE_INFINITY
        if (await this.#look()) looked = performance.now()
        this.#takes = performance.now() - now
        letGarbageGo()
      }
      const isWanted = this.#isDue || this.#fresh.size > 0
      await this.#sleep(isWanted ? 0 : Math.max(0, Math.min(glance, this.#dueAt - performance.now())))
    }
  }

  stop(): void {
    this.#isStopped = true
    this.#nodes.stop()
    this.#configMaps.stop()
    this.#wake?.()
  }

  /** Whether it could look: it has to know the nodes and the configuration first. */
  async #look(): Promise<boolean> {
    const { name, node, log, address } = this.#options
    const objects = this.#nodes.objects
    const settings = this.#configured()
    const own = objects?.get(name)
    if (!objects || !settings) return false
    if (!own) {
      log('warn', `there is no node ${name} in the cluster yet`)
      return false
    }
    const nodes = () => (this.#all ??= [...(this.#nodes.objects ?? objects).values()])
    try {
      const outcome = await node.keep({ own, nodes, settings, pause: () => this.#breathe() })
      if (address !== undefined && node.hasAddress(address) === false) {
        this.#isGone = true
        this.stop()
      }
      this.metrics.looked(outcome)
      if (outcome.isReady && !this.#isReady) log('info', `node ${name} is ready`)
      this.#isReady = outcome.isReady
      for (const one of outcome.news) {
        log('warn', one.text)
        void this.#events.happened(one)
      }
      for (const { text } of outcome.problems) log('debug', text)
      if (outcome.isReady && own.isUnavailable) void this.#tellAvailable(name)
      this.#events.tell([...this.#wrong, ...this.#statusProblem, ...this.#collection, ...outcome.problems])
      return true
    } catch (thrown) {
      this.metrics.error('look')
      log('error', `this look failed: ${wordsOf(thrown)}`)
      return false
    }
  }

  /** In the middle of a look: nodes that come then do not wait for its end. */
  async #breathe(): Promise<void> {
    letGarbageGo()
    // What the API server has said meanwhile is heard.
    await new Promise((resolve) => setImmediate(resolve))
    if (this.#fresh.size > 0) this.#lookSoon()
  }

  /**
   * Gives nodes that have come or changed their routes at once; all that is on the node is looked at a while later, the
   * later the longer it takes: with thousands of nodes one comes after the other.
   */
  #lookSoon(): void {
    const { name, node, log } = this.#options
    const objects = this.#nodes.objects
    const own = objects?.get(name)
    const others = [...this.#fresh].flatMap((one) => objects?.get(one) ?? [])
    try {
      if (own) node.keepSoon(own, others)
    } catch (thrown) {
      this.metrics.error('look')
      log('error', `routes to new nodes failed: ${wordsOf(thrown)}`)
    }
    this.#fresh.clear()
    this.#dueAt = Math.min(this.#dueAt, performance.now() + Math.min(longestWait, restFactor * this.#takes))
  }

  /** The settings that hold; undefined while the ConfigMap is not known. */
  #configured(): Settings | undefined {
    const { configMap, node, configured } = this.#options
    const objects = this.#configMaps.objects
    if (!objects && !this.#isForbidden) return this.#settings
    // A ConfigMap that is deleted, as before the agent is, gives no pod the leases of another network.
    const text = objects?.get(configMap.name) ?? node.lastGood ?? ''
    if (text === this.#text) return this.#settings
    this.#text = text
    const read = readSettings(text)
    const last = node.lastGood === undefined ? undefined : readSettings(node.lastGood)
    if ('settings' in read) {
      this.#settings = read.settings
      this.#wrong = []
      node.keepGood(text)
    } else {
      const where = `ConfigMap ${configMap.namespace}/${configMap.name}`
      const holds = this.#settings || last ? 'the last good one holds' : 'what is usual holds'
      const words = `${where}: ${read.problems.join('; ')}: ${holds}`
      this.#wrong = [{ reason: 'ConfigurationWrong', key: 'config.yaml', text: words }]
      this.#options.log('error', words)
      this.#settings ??= last && 'settings' in last ? last.settings : usualSettings
    }
    this.metrics.configuration(this.#wrong.length === 0)
    configured?.(this.#settings)
    return this.#settings
  }

  async #collect(): Promise<void> {
    const { collector, collectEvery } = this.#options
    let looked: number | undefined
    for (; !this.#isStopped; await pause(glance)) {
      if (this.#settings?.gc !== true) {
        looked = undefined
        this.#collection = []
      } else if (looked === undefined || performance.now() - looked >= collectEvery) {
        this.#tellCollected(await collector.collect())
        looked = performance.now()
      }
    }
  }

  #tellCollected({ taken, faults }: Collected): void {
    const { name, log } = this.#options
    this.metrics.collected(taken.length, faults.length === 0)
    this.#collection = faults.map((fault) => ({ reason: 'CollectionFailed', key: fault, text: `gc: ${fault}` }))
    for (const { text } of this.#collection) log('warn', text)
    if (taken.length > 0) {
      const names = taken.map(({ belongings: { attachment } }) => `${attachment.network}/${attachment.containerID}`)
      const some = names.slice(0, mostNamed).join(', ') + (names.length > mostNamed ? ', ...' : '')
      const text = `gc removed what was left of ${names.length} dead on node ${name}: ${some}`
      log('info', text)
      void this.#events.happened({ reason: 'Collected', key: names.join(), text })
    }
    this.#changed()
  }

  /** A cloud's own controller would wait for its own network. */
  async #tellAvailable(name: string): Promise<void> {
    if (this.#isTelling) return
    this.#isTelling = true
    const now = new Date().toISOString()
    const condition = {
      type: 'NetworkUnavailable',
      status: 'False',
      reason: 'PodwireIsUp',
      message: 'podwire attaches pods on this node',
      lastHeartbeatTime: now,
      lastTransitionTime: now,
    }
    try {
      const body = { status: { conditions: [condition] } }
      await this.#options.api.patch(`/api/v1/nodes/${name}/status`, 'application/strategic-merge-patch+json', body)
      this.#statusProblem = []
    } catch (thrown) {
      const code = statusOf(thrown)
      this.metrics.error(code)
      const fix = code === '403' ? ': give the agent patch of nodes/status (deploy/network-unavailable.yaml)' : ''
      const text = `cannot set NetworkUnavailable to False: ${wordsOf(thrown)}${fix}`
      this.#statusProblem = [{ reason: 'StatusRefused', key: code, text }]
      this.#options.log('warn', text)
    } finally {
      await pause(jittered(statusRetry))
      this.#isTelling = false
    }
  }

  #isTelling = false

  #failed(what: string, why: string, code: string): void {
    if (code !== '') this.metrics.error(code)
    this.#options.log(why === '' ? 'info' : 'warn', why === '' ? `${what}: followed again` : `${what}: ${why}`)
  }

  #changed(): void {
    this.#isDue = true
    this.#wake?.()
  }

  async #sleep(milliseconds: number): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>()
    // What comes together is looked at together.
    const timer = setTimeout(resolve, milliseconds)
    this.#wake = () => setTimeout(resolve, together)
    await promise
    this.#wake = undefined
    clearTimeout(timer)
  }
}

// --- internal

/** Nodes; an object may have 20 kB, and is larger when it is read. */
const pageSize = 100
/** Between changes of nodes and the look at everything: so many times as long as a look, and the most. */
const restFactor = 4
const longestWait = 2000
/** Milliseconds between two glances at whether somebody changed rules. */
const glance = 1000
/** Milliseconds in which changes are gathered. */
const together = 50
const statusRetry = 10_000
/** Of what was collected, in an Event. */
const mostNamed = 5

function pageOf(list: unknown): Page {
  const { items, metadata } = isObject(list) ? list : {}
  const next = textIn(metadata, 'continue') || undefined
  const version = textIn(metadata, 'resourceVersion')
  if (version === '') throw new Error('the answer is no list of objects')
  return { items: Array.isArray(items) ? items : [], version, next }
}
