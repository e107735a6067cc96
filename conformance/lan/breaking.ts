import { chmodSync, writeFileSync } from 'node:fs'
import { expect } from 'vitest'
import { errorOf } from '../harness/answer.js'
import type { Conflist } from '../harness/chain.js'
import type { Host } from '../harness/host.js'
import { type Call, runPlugin } from '../harness/plugin.js'
import { difference } from '../harness/snapshot.js'
import { call, rename, state } from './network.js'

// Stands before `ip` in the throw-away host. Counts the lines of the batches that stop at a failure, which are plans,
// and spoils the one whose number is asked for: the loopback never leaves its namespace. Batches that go on (-force)
// are what takes plans back, and pass.
const wrapper = `#!/bin/sh
case "$1" in -batch) ;; *) exec /run/real-ip "$@" ;; esac
count=$(cat /run/breaking/count) place=$(cat /run/breaking/place)
lines=$(cat)
[ "$lines" ] || exit 0
printf '%s\\n' "$lines" | wc -l | { read -r more; echo $((count + more)) >/run/breaking/count; }
printf '%s\\n' "$lines" | sed "$((place > count ? place - count : 100000))s/.*/link set dev lo netns 1/" | /run/real-ip "$@"
`

/** The kernel refuses an operation; some are only refused where it lacks what they need. */
const refused = expect.toBeOneOf([100, 102])

/**
 * Refuses each `ip` operation of an ADD in turn, until it succeeds; nothing may be left of any that failed. The uplink
 * may get another name. Returns how many were refused.
 */
export async function breakEverywhere(host: Host, network: Conflist, uplink = 'uplink'): Promise<number> {
  await host.outside()
  if (uplink !== 'uplink') await rename(host, 'uplink', uplink)
  const container = await host.container()
  return refuseInTurn(host, call('ADD', container, network), state)
}

/**
 * The same for one call and all that it can leave behind, on a host that is ready for it. It is made by way of `ip`.
 */
export async function refuseInTurn(host: Host, add: Call, look: (host: Host) => Promise<string[]>): Promise<number> {
  const refuse = await breakable(host)
  const before = await look(host)
  for (let place = 1; place < 50; place++) {
    refuse(place)
    const finished = await runPlugin(host, { ...add, env: { ...add.env, PODWIRE_NO_NETLINK: '1' } })
    if (finished.status === 0) return place - 1
    expect(errorOf(finished)).toMatchObject({ code: refused, details: expect.not.stringContaining('left behind') })
    expect(difference(before, await look(host)), `operation ${place} refused`).toBe('')
  }
  throw new Error('the ADD never succeeded')
}

/** Puts itself between the plugins of a host and `ip`; returns a function that says which operation shall fail. */
export async function breakable(host: Host): Promise<(place: number) => void> {
  await host.output(['mkdir', '/run/breaking'])
  await host.output(['cp', '/usr/sbin/ip', '/run/real-ip'])
  writeFileSync(host.path('/run/breaking/ip'), wrapper)
  chmodSync(host.path('/run/breaking/ip'), 0o755)
  await host.output(['mount', '--bind', '/run/breaking/ip', '/usr/sbin/ip'])
  return (place) => {
    writeFileSync(host.path('/run/breaking/count'), '0')
    writeFileSync(host.path('/run/breaking/place'), String(place))
  }
}
