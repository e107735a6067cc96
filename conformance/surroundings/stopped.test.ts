import type { ChildProcess } from 'node:child_process'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { expect } from 'vitest'
import { errorOf, resultOf, succeedSilently } from '../harness/answer.js'
import { test } from '../harness/fixture.js'
import { expectHits, Killer } from '../harness/killer.js'
import { suites } from '../harness/locations.js'
import { readFiles } from '../harness/observe.js'
import { environment, runPlugin, startPlugin } from '../harness/plugin.js'
import { until } from '../harness/process.js'
import { difference } from '../harness/snapshot.js'
import { call, leases, settled, state } from '../main/bridge-setting.js'

/** Stopped by a debugger, a freezer or a person. */
async function stopped(child: ChildProcess): Promise<void> {
  child.kill('SIGSTOP')
  await delay(5_000)
}

test('calls stopped for 5 s in the middle, then continued or killed: others wait or go on, and nothing is left', {
  timeout: 180_000,
}, async ({ host }) => {
  const { container } = await settled(host)
  const others = [container]
  while (others.length < 8) others.push(await host.container())
  const clean = await state(host)
  // All are begun at once and none of them tells the next how long one is: the shortest of three does, as a busy
  // machine may have been slow at one.
  const killers: Killer[] = []
  while (killers.length < 3) {
    killers.push(await Killer.timing(async () => resultOf(await runPlugin(host, call('ADD', container)))))
    succeedSilently(await runPlugin(host, call('DEL', container)))
  }
  const [killer] = killers.toSorted((one, other) => one.momentOf(1) - other.momentOf(1)) as [Killer]
  let continued = 0
  const calls = others.map(async (one, index) => {
    const part = (index + 1) / others.length
    if (index % 2 === 1) return await killer.killAt(part, host, call('ADD', one), stopped)
    const { child, finished } = startPlugin(host, call('ADD', one))
    await Promise.race([finished, delay(killer.momentOf(part))])
    if (child.exitCode === null) {
      await stopped(child)
      continued++
      child.kill('SIGCONT')
    }
    const { status, stdout } = await finished
    expect([status, index], stdout).toEqual([0, index])
  })
  await Promise.all(calls)
  killer.expectHits()
  expectHits({ hits: continued, rounds: others.length / 2 })
  for (const one of others) succeedSilently(await runPlugin(host, call('DEL', one)))
  await host.quiet()
  expect(difference(clean, await state(host))).toBe('')
})

test('a holder of the lock that never goes on, as on an NFS that hangs: all others end within its 60 s', {
  timeout: 180_000,
}, async ({ host }) => {
  const { container } = await settled(host)
  const others = [container, await host.container(), await host.container()]
  const holding = host.start(['flock', '-F', '-x', `${leases}/lock`, 'sh', '-c', 'kill -STOP $$; true'], {
    deadline: 150_000,
  })
  const files = readFiles(host, leases)
  const isHeld = async () => (await host.exec(['flock', '-n', `${leases}/lock`, 'true'])).status !== 0
  await until('the lock is held', isHeld)
  const began = performance.now()
  const ended = await Promise.all(
    others.map((one, index) => {
      const waiting = call(index === 0 ? 'DEL' : 'ADD', one)
      const options = { stdin: JSON.stringify(waiting.config), env: environment(waiting), deadline: 120_000 }
      return host.exec([join(suites.podwire, waiting.plugin)], options)
    }),
  )
  for (const one of ended)
    expect(errorOf(one)).toMatchObject({ code: 11, msg: expect.stringContaining(`${leases}/lock`) })
  expect(performance.now() - began).toBeLessThan(75_000)
  expect(readFiles(host, leases)).toEqual(files)
  holding.child.kill('SIGKILL')
})
