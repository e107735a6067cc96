import { isObject } from '../../shared/values/object.js'
import { textIn } from '../node/reader.js'
import type { Api } from './api.js'
import { type ClusterNode, isSameNode, prunedNode } from './cluster.js'
import { Events } from './events.js'
import { Follower, jittered, type Page, pause, statusOf, wordsOf } from './follow.js'
import type { Metrics } from './metrics.js'
import type { AgentNode } from './node.js'
import type { Problem } from './problem.js'
import { readSettings, type Settings, usualSettings } from './settings.js'

export interface AgentOptions {
  readonly api: Api
  readonly node: AgentNode
  /** The name of this node. */
  readonly name: string
  readonly configMap: { readonly namespace: string; readonly name: string }
  readonly metrics: (heard: () => number) => Metrics
  /** Milliseconds between looks at what stands, where nothing has changed. */
  readonly every: number
  readonly log: Log
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
  #isReady = false
  #wake: (() => void) | undefined
  #isDue = true
  #isStopped = false

  constructor(options: AgentOptions) {
    this.#options = options
    const { api, configMap, log } = options
    this.#events = new Events(api, options.name, (text) => log('warn', text))
    this.#nodes = new Follower({
      config: api.config,
      path: '/api/v1/nodes',
      query: {},
      list: async (next) => pageOf(await api.get('/api/v1/nodes', { limit: String(pageSize), continue: next })),
      keep: prunedNode,
      isSame: isSameNode,
      changed: () => {
        this.#all = undefined
        this.#changed()
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

  async run(): Promise<void> {
    void this.#nodes.run()
    void this.#configMaps.run()
    let looked = 0
    while (!this.#isStopped) {
      const isLate = performance.now() - looked >= this.#options.every
      if (this.#isDue || isLate || (looked > 0 && this.#options.node.hasOtherRules())) {
        this.#isDue = false
        if (this.#look()) looked = performance.now()
      }
      await this.#sleep(this.#isDue ? 0 : glance)
    }
  }

  stop(): void {
    this.#isStopped = true
    this.#nodes.stop()
    this.#configMaps.stop()
    this.#wake?.()
  }

  /** Whether it could look: it has to know the nodes and the configuration first. */
  #look(): boolean {
    const { name, node, log } = this.#options
    const objects = this.#nodes.objects
    const settings = this.#configured()
    const own = objects?.get(name)
    if (!objects || !settings) return false
    if (!own) {
      log('warn', `there is no node ${name} in the cluster yet`)
      return false
    }
    this.#all ??= [...objects.values()]
    try {
      const outcome = node.keep(own, this.#all, settings)
      this.metrics.looked(outcome)
      if (outcome.isReady && !this.#isReady) log('info', `node ${name} is ready`)
      this.#isReady = outcome.isReady
      for (const one of outcome.news) {
        log('warn', one.text)
        void this.#events.happened(one)
      }
      for (const { text } of outcome.problems) log('debug', text)
      if (outcome.isReady && own.isUnavailable) void this.#tellAvailable(name)
      this.#events.tell([...this.#wrong, ...this.#statusProblem, ...outcome.problems])
      return true
    } catch (thrown) {
      this.metrics.error('look')
      log('error', `this look failed: ${wordsOf(thrown)}`)
      return false
    }
  }

  /** The settings that hold; undefined while the ConfigMap is not known. */
  #configured(): Settings | undefined {
    const { configMap, node, configured } = this.#options
    const objects = this.#configMaps.objects
    if (!objects && !this.#isForbidden) return this.#settings
    const text = objects?.get(configMap.name) ?? (this.#isForbidden ? (node.lastGood ?? '') : '')
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

const pageSize = 250
/** Milliseconds between two glances at whether somebody changed rules. */
const glance = 1000
/** Milliseconds in which changes are gathered. */
const together = 50
const statusRetry = 10_000
function pageOf(list: unknown): Page {
  const { items, metadata } = isObject(list) ? list : {}
  const next = textIn(metadata, 'continue') || undefined
  return { items: Array.isArray(items) ? items : [], version: textIn(metadata, 'resourceVersion'), next }
}

function configurationIn(object: unknown): string {
  const data = isObject(object) ? object['data'] : undefined
  const text = isObject(data) ? data['config.yaml'] : undefined
  return typeof text === 'string' ? text : ''
}
