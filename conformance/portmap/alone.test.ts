import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { describe, expect } from 'vitest'
import { succeedSilently } from '../harness/answer.js'
import type { Container } from '../harness/container.js'
import { test } from '../harness/fixture.js'
import type { Host } from '../harness/host.js'
import { type Call, runPlugin } from '../harness/plugin.js'
import { call, elementCount, tcp } from './setting.js'

// Containers whose addresses are their own subnets, on a node that comes from a version before 0.2.0, or goes back to
// it: that one has a chain for each such address, and knows nothing of portmap_alone.

const folder = '/run/podwire/portmap/network'
const own = { ip: '10.1.2.2', ip6: 'fd00:1:2::2' }

function routed(container: Container, command: 'ADD' | 'CHECK' | 'DEL'): Call {
  const one = call(command, container, [tcp(8080)])
  const config = one.config as { prevResult: { ips: object[] } }
  config.prevResult.ips = [
    { address: `${own.ip}/32`, interface: 0 },
    { address: `${own.ip6}/128`, interface: 0 },
  ]
  return { ...one, containerID: container.name }
}

async function add(host: Host, container: Container) {
  const { status, stdout } = await runPlugin(host, routed(container, 'ADD'))
  expect(status, stdout).toBe(0)
}

/** Leaves of a record what the former version writes, and reads. */
function forgetAlone(host: Host): void {
  for (const name of readdirSync(host.path(folder))) {
    const file = host.path(`${folder}/${name}`)
    const before = readFileSync(file, 'utf8')
    const after = before.replaceAll('"alone":true,', '')
    expect(after).not.toBe(before)
    writeFileSync(file, after)
  }
}

describe('a container that is its own subnet', () => {
  test('gets the address of one that the former version detached', async ({ host }) => {
    const [first, next] = [await host.container(), await host.container()]
    await add(host, first)
    forgetAlone(host)
    succeedSilently(await runPlugin(host, routed(first, 'DEL')))
    // In each family the pair.
    expect(await elementCount(host)).toBe(2)
    await add(host, next)
    succeedSilently(await runPlugin(host, routed(next, 'CHECK')))
    succeedSilently(await runPlugin(host, routed(next, 'DEL')))
    expect(await elementCount(host)).toBe(0)
  })

  test('that the former version attached is found complete, and detached', async ({ host }) => {
    const container = await host.container()
    await add(host, container)
    forgetAlone(host)
    for (const [family, address] of Object.entries(own)) {
      const comment = `comment "network/eth0/${container.name}"`
      const chain = `portmap_hairpin_${address.replaceAll(':', '-')}/${family === 'ip' ? 32 : 128}`
      const lines = [
        `delete element ${family} podwire portmap_alone { ${address} . ${address} }`,
        `delete element ${family} podwire portmap_hairpin { ${address} }`,
        `add chain ${family} podwire ${chain}`,
        `add element ${family} podwire portmap_hairpin { ${address} ${comment} : jump ${chain} }`,
      ]
      await host.output(['nft', '-f', '-'], { stdin: `${lines.join('\n')}\n` })
    }
    succeedSilently(await runPlugin(host, routed(container, 'CHECK')))
    succeedSilently(await runPlugin(host, routed(container, 'DEL')))
    expect(await elementCount(host)).toBe(0)
  })
})
