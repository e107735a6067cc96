import { names } from 'podwire:plugins'
import { errorFolder, mostErrors } from '../../shared/exec/error-count.js'
import { codes } from '../../shared/values/errors.js'
import type { Place } from '../frame/place.js'
import { isLeaseIn } from '../node/leases.js'
import { readNode } from '../node/node.js'
import { FileReader } from '../node/reader.js'
import { Counter, collectDefaultMetrics, Gauge, Registry } from './libraries.js'
import type { Outcome } from './node.js'

/** What the agent tells Prometheus. */
export class Metrics {
  readonly registry = new Registry()
  readonly #errors: Counter
  readonly #wanted: Gauge
  readonly #present: Gauge
  readonly #valid: Gauge
  readonly #ready: Gauge
  readonly #problems: Gauge
  readonly #collected: Counter
  readonly #withheld: Counter
  #lastLook = 0
  #lastCollection = 0

  /** @param heard when the API server was last heard of, in milliseconds of performance.now() */
  constructor(place: Place, heard: () => number) {
    const registers = [this.registry]
    collectDefaultMetrics({ register: this.registry })
    const gauge = (name: string, help: string) => new Gauge({ name: `podwire_agent_${name}`, help, registers })
    this.#wanted = gauge('routes_wanted', "Routes to other nodes' pods that should stand.")
    this.#present = gauge('routes_present', 'Of those, how many stand.')
    this.#valid = gauge(
      'configuration_valid',
      '1 where the ConfigMap is good, 0 where the last good one holds instead.',
    )
    this.#ready = gauge('ready', '1 once the configuration of the node is in its place.')
    this.#problems = new Gauge({
      name: 'podwire_agent_problems',
      help: 'What is wrong now, by the reason that its Event has.',
      labelNames: ['reason'],
      registers,
    })
    this.#errors = new Counter({
      name: 'podwire_agent_errors_total',
      help: 'Refusals by their codes: HTTP statuses of the API server, errno of what could not be reached, and of the kernel as kernel_N.',
      labelNames: ['code'],
      registers,
    })
    const since = (name: string, help: string, at: () => number) =>
      new Gauge({
        name: `podwire_agent_${name}`,
        help,
        registers,
        collect() {
          this.set(at() === 0 ? Number.POSITIVE_INFINITY : (performance.now() - at()) / 1000)
        },
      })
    since(
      'last_look_age_seconds',
      'How long ago the node was last looked at and found, or made, as it should be.',
      () => this.#lastLook,
    )
    since(
      'gc_age_seconds',
      'How long ago gc last looked at all that is on the node; for ever where it is not wanted, or cannot.',
      () => this.#lastCollection,
    )
    this.#collected = new Counter({
      name: 'podwire_agent_collected_total',
      help: 'Attachments of dead pods of which gc removed what was left.',
      registers,
    })
    this.#withheld = new Counter({
      name: 'podwire_agent_events_withheld_total',
      help: 'Events that were not told, or not at once, because their reason had too many.',
      labelNames: ['reason'],
      registers,
    })
    since('api_heard_age_seconds', 'How long ago the API server last said something.', heard)
    registerNode(this.registry, place)
    registerErrors(this.registry, place)
  }

  looked({ routes, problems, errors, isReady }: Outcome): void {
    this.#lastLook = performance.now()
    this.#wanted.set(routes.wanted)
    this.#present.set(routes.present)
    this.#ready.set(isReady ? 1 : 0)
    this.#problems.reset()
    for (const { reason } of problems) this.#problems.inc({ reason })
    for (const errno of errors) this.error(`kernel_${errno}`)
  }

  /** When the node was last looked at, in milliseconds of performance.now(). */
  get lastLook(): number {
    return this.#lastLook
  }

  collected(count: number, isWhole: boolean): void {
    this.#collected.inc(count)
    if (isWhole) this.#lastCollection = performance.now()
  }

  configuration(isGood: boolean): void {
    this.#valid.set(isGood ? 1 : 0)
  }

  withheld(reason: string): void {
    this.#withheld.inc({ reason })
  }

  error(code: string): void {
    this.#errors.inc({ code })
  }
}

// --- internal

/** What plugins and runtimes have written on the node is read when somebody asks. */
function registerNode(registry: Registry, place: Place): void {
  const registers = [registry]
  const labelNames = ['network', 'range']
  // The first of them, since each is told in its turn as it is then.
  new Gauge({
    name: 'podwire_attachments',
    help: 'Attachments on record, by network.',
    labelNames: ['network'],
    registers,
    collect() {
      const node = readNode(new FileReader(place))
      for (const one of [this, used, free]) one.reset()
      for (const { network } of node.attachments) this.inc({ network })
      const leases = node.attachments.flatMap((attachment) => attachment.leases)
      for (const range of node.ranges) {
        const count = leases.filter((lease) => isLeaseIn(lease, range)).length
        const labels = { network: range.network, range: range.text }
        used.set(labels, count)
        free.set(labels, Number(range.size - BigInt(count)))
      }
    },
  })
  const used = new Gauge({ name: 'podwire_leases_used', help: 'Addresses leased, by range.', labelNames, registers })
  const free = new Gauge({ name: 'podwire_leases_free', help: 'Addresses left, by range.', labelNames, registers })
}

/** What plugins have counted (shared/exec/error-count.ts); of others' files there, none. */
function registerErrors(registry: Registry, place: Place): void {
  const known = new Set(Object.values(codes).map(String))
  new Counter({
    name: 'podwire_plugin_errors_total',
    help: 'Calls of plugins on this node that ended in an error, by its code, since the node started.',
    labelNames: ['plugin', 'code'],
    registers: [registry],
    collect() {
      const reader = new FileReader(place)
      this.reset()
      for (const name of reader.names(errorFolder())) {
        const [plugin = '', code = '', ...rest] = name.split('.')
        if (rest.length > 0 || !names.includes(plugin) || !/^\d{1,3}$/.test(code)) continue
        const status = reader.stat(`${errorFolder()}/${name}`)
        const labels = { plugin, code: known.has(code) ? code : 'other' }
        if (status?.isFile()) this.inc(labels, Math.min(status.size, mostErrors))
      }
    },
  })
}
