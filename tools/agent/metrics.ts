import { Counter, collectDefaultMetrics, Gauge, Registry } from 'prom-client'
import type { Place } from '../frame/place.js'
import { isLeaseIn } from '../node/leases.js'
import { readNode } from '../node/node.js'
import { FileReader } from '../node/reader.js'
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
  #lastLook = 0

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
    since('api_heard_age_seconds', 'How long ago the API server last said something.', heard)
    registerNode(this.registry, place)
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

  configuration(isGood: boolean): void {
    this.#valid.set(isGood ? 1 : 0)
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
  const used = new Gauge({ name: 'podwire_leases_used', help: 'Addresses leased, by range.', labelNames, registers })
  const free = new Gauge({ name: 'podwire_leases_free', help: 'Addresses left, by range.', labelNames, registers })
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
}
