import { join } from 'node:path'
import { obstacle } from '../clients/scenario.js'
import { repository } from '../harness/locations.js'
import { declareTests, type Elsewhere, logged, testsOf, unrun } from '../vm/elsewhere.js'
import { demand, entering } from './place.js'

// Conformance tests with Debian 13's tools, as a whole while this file is loaded; what became of each of them is a test
// here. `make test` runs those whose outcome the tools decide: what ip, nft, tc and iptables are told and say.
// PODWIRE_ALL_IN_ROOT=1 (make test-roots) runs all but those that need a full kernel.
const toolDependent = [
  'conformance/bandwidth/',
  'conformance/devices/',
  'conformance/firewall/',
  'conformance/lan/',
  'conformance/main/',
  'conformance/netlink/',
  'conformance/oracle/',
  'conformance/portmap/',
  'conformance/ptp/',
  'conformance/tuning/',
]
/**
 * There, but about moments, numbers, records and what netlink asks the kernel rather than tools, or comparisons that
 * Debian 12's tools are enough for: not in `make test`, whose time is bounded.
 */
const notToolDependent = [
  ...['crowd', 'killed', 'scale', 'faults', 'bridge-address'],
  ...['requests', 'impostor', 'records', 'foreign-ipam', 'differential'],
]
/** Seconds: ten times what it takes, so that no run hangs for ever and a busy machine comes to its end. */
const limit = { some: '5400', all: '14400' }
const all = process.env['PODWIRE_ALL_IN_ROOT'] === '1'

async function runOnTools(): Promise<Elsewhere> {
  const filters = all ? [] : toolDependent
  const left = ['*.vm', ...(all ? [] : notToolDependent)].map((name) => `--exclude=**/${name}.test.ts`)
  const reason = obstacle([])
  if (reason !== undefined) return { where: `not run with Debian 13's tools: ${reason}`, tests: unrun(filters, reason) }
  demand('debian-13')
  const vitest = join(repository, 'conformance/vm/vitest')
  const argv = [...entering('debian-13'), 'timeout', all ? limit.all : limit.some, vitest, ...left]
  return { where: "with Debian 13's tools", tests: testsOf(await logged([...argv, ...filters], 'debian-13')) }
}

declareTests("with Debian 13's tools", await runOnTools())
