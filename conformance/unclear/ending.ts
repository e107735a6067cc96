import { writeFileSync } from 'node:fs'
import { expect } from 'vitest'
import { errorOf } from '../harness/answer.js'
import type { Host } from '../harness/host.js'
import { type Call, runPlugin } from '../harness/plugin.js'
import { difference } from '../harness/snapshot.js'

/** How a tool ends without naming the line it came to. */
const endings = {
  'with 255': 'exit 255',
  killed: 'kill -9 $$',
  "in another version's words": 'echo "ip: it did not work at line 3" >&2; exit 2',
  'at a line that nobody gave it': 'echo "Command failed -:999" >&2; exit 1',
  'with garbage': 'head -c 2000 /dev/urandom >&2; exit 1',
  'with the word for a missing program': 'exit 127',
} as const

/**
 * What it has done by then: nothing, the lines up to one of them, or all. What is one transaction is done whole or not
 * at all.
 */
const extents = ['none', 'through', 'all'] as const

export interface Moment {
  /** The line, or transaction, of all that tools are given, from 1 on. */
  readonly place: number
  readonly ending: keyof typeof endings
  readonly extent: (typeof extents)[number]
}

// Counts the lines of the batches that stop at a failure, which are plans, and the transactions of nft and
// iptables-restore. The one that holds the place asked for ends as it is to end; all others pass, so that what takes
// back what was done can.
const wrapper = `#!/bin/sh
real=/usr/sbin/\${0##*/}
case "\${0##*/} $*" in
  *-force*|*\\ -j\\ *) exec "$real" "$@" ;;
  "nft -f -"|*-restore\\ *) counted='s/.*/1/p;q' ;;
  *-batch*) counted=p ;;
  *) exec "$real" "$@" ;;
esac
cd /run/ending
lines=$(cat)
[ "$lines" ] || exit 0
more=$(printf '%s\\n' "$lines" | sed -n "$counted" | wc -l)
exec 9>>lock
flock 9
read -r count <count
echo $((count + more)) >count
exec 9>&-
at=$(($(cat place) - count))
[ "$at" -ge 1 ] && [ "$at" -le "$more" ] || { printf '%s\\n' "$lines" | "$real" "$@"; exit; }
case "$(cat extent)$counted" in
  none*) ;;
  throughp) printf '%s\\n' "$lines" | head -n "$at" | "$real" "$@" ;;
  *) printf '%s\\n' "$lines" | "$real" "$@" ;;
esac
. ./ending
`

/**
 * Stands before the tools of a host, where every plugin looks for them first; returns a function that says which is to
 * end, and how.
 */
export async function endable(host: Host): Promise<(moment: Moment) => void> {
  await host.output(['mkdir', '/run/ending'])
  await host.output(['mount', '-t', 'tmpfs', 'tmpfs', '/usr/local/sbin'])
  for (const tool of ['ip', 'bridge', 'tc', 'nft', 'iptables-restore', 'ip6tables-restore']) {
    await host.output(['tee', `/usr/local/sbin/${tool}`], { stdin: wrapper })
    await host.output(['chmod', '+x', `/usr/local/sbin/${tool}`])
  }
  return ({ place, ending, extent }) => {
    const texts = { count: '0', place: String(place), extent, ending: endings[ending] }
    for (const [name, text] of Object.entries(texts)) writeFileSync(host.path(`/run/ending/${name}`), `${text}\n`)
  }
}

/**
 * Lets the tools of an ADD end without a word of the line at each place in turn, until the ADD succeeds, having done
 * nothing, a part and all; nothing may be left of any. Every way to end has its turn. Returns how many places there
 * were.
 */
export async function endInTurn(
  host: Host,
  add: Call,
  { look, end }: { look: (host: Host) => Promise<string[]>; end: (moment: Moment) => void },
): Promise<number> {
  const before = await look(host)
  const ways = Object.keys(endings) as (keyof typeof endings)[]
  for (let place = 1; place < 80; place++) {
    for (const [index, extent] of extents.entries()) {
      const ending = ways[(place * extents.length + index + (place >> 1)) % ways.length] as keyof typeof endings
      end({ place, ending, extent })
      const finished = await runPlugin(host, add)
      if (finished.status === 0) return place - 1
      const moment = `place ${place}, ${extent} done, ${ending}`
      const { msg, details = '' } = errorOf(finished)
      expect(msg, moment).toContain('without saying')
      expect(details, moment).toMatch(/^commands?:\n/)
      expect(details, moment).not.toContain('left behind')
      expect(difference(before, await look(host)), moment).toBe('')
    }
  }
  throw new Error('the ADD never succeeded')
}
