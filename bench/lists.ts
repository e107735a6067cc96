import { type Suite, timed } from './measure.js'
import { bridge, type Config, chained, portmap } from './networks.js'

export type Configs = Record<Suite, Config>

export function both(make: (suite: Suite) => Config): Configs {
  return { podwire: make('podwire'), official: make('official') }
}

const ownNetns = '/run/netns/bench'

/** The plugins of a chain one after the other, as a runtime calls them; wall milliseconds of all. */
export function runChain(
  suite: Suite,
  verb: 'ADD' | 'DEL',
  chain: readonly Configs[],
  containerID: string,
  namespace = ownNetns,
): number {
  const configs = chain.map((one) => one[suite])
  let total = 0
  let previous: unknown
  for (const config of verb === 'ADD' ? configs : configs.toReversed()) {
    const input = previous === undefined ? config : { ...config, prevResult: previous }
    const { ms, stdout } = timed({ suite, verb, config: input, containerID, netns: namespace })
    total += ms
    if (verb === 'ADD') previous = JSON.parse(stdout)
  }
  return total
}

/** The whole chain a default Podman network runs. */
export function podmanChain(ports: number, first: (suite: Suite) => number, backend: object = {}): readonly Configs[] {
  return [
    both((suite) => bridge(suite, { ipMasq: true, hairpinMode: true })),
    both((suite) => portmap(suite, { ports, first: first(suite), more: suite === 'official' ? backend : {} })),
    both((suite) => chained(suite, 'firewall')),
    both((suite) => chained(suite, 'tuning')),
  ]
}

/** The host ports of the two suites never meet. */
export const firstPort = (suite: Suite) => (suite === 'podwire' ? 20_000 : 20_001)
