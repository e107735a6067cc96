import { describe, expect } from 'vitest'
import { type Result, resultOf, succeedSilently } from '../harness/answer.js'
import type { Container } from '../harness/container.js'
import { test } from '../harness/fixture.js'
import type { Host } from '../harness/host.js'
import { readFiles } from '../harness/observe.js'
import { runPlugin } from '../harness/plugin.js'
import { difference } from '../harness/snapshot.js'
import { call, config, leases, settled, state } from './bridge-setting.js'
import { addressOf } from './networks.js'

async function containers(host: Host, count: number): Promise<Container[]> {
  const made: Container[] = []
  for (let index = 0; index < count; index++) made.push(await host.container())
  return made
}

describe('many at once', () => {
  test.for([8, 50])('%i ADDs and DELs on one bridge and one range', { timeout: 240_000 }, async (count, { host }) => {
    const { before: _, container } = await settled(host)
    await container.remove()
    const all = await containers(host, count)
    const before = await state(host)

    const results = (await Promise.all(all.map((one) => runPlugin(host, call('ADD', one))))).map(resultOf)
    for (const family of [4, 6] as const) {
      expect(new Set(results.map((result) => addressOf(result, family))).size).toBe(count)
    }
    expect(new Set(results.map((result) => result.interfaces?.[1]?.name)).size).toBe(count)
    expect(Object.keys(readFiles(host, leases)).filter((name) => /^(10|fd00)/.test(name))).toHaveLength(2 * count)
    const checks = all.map((one, index) =>
      runPlugin(host, call('CHECK', one, { config: withPrevious(results[index]) })),
    )
    for (const checked of await Promise.all(checks)) succeedSilently(checked)

    const removed = await Promise.all(all.map((one) => runPlugin(host, call('DEL', one))))
    for (const finished of removed) succeedSilently(finished)
    expect(difference(before, await state(host))).toBe('')
  })

  test('ADDs and DELs mixed, the first of all made by all of them', { timeout: 240_000 }, async ({ host }) => {
    const all = await containers(host, 16)
    const rounds = all.map(async (one) => {
      for (let round = 0; round < 3; round++) {
        resultOf(await runPlugin(host, call('ADD', one)))
        succeedSilently(await runPlugin(host, call('DEL', one)))
      }
    })
    await Promise.all(rounds)
    const left = await state(host)
    expect(left.filter((line) => /veth#|10\.1\.2\.(?!0\b|1\b|255\b)\d+|^file /.test(line))).toEqual([])
    expect(left.some((line) => line.startsWith('host: address br0 local 10.1.2.1'))).toBe(true)
  })
})

const withPrevious = (prevResult: Result | undefined): object => ({ ...config, prevResult })
