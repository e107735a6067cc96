import { describe, expect } from 'vitest'
import { resultOf } from '../harness/answer.js'
import { type CnitoolVerb, runCnitool, writeConflist } from '../harness/cnitool.js'
import { test } from '../harness/fixture.js'
import type { Host } from '../harness/host.js'
import { readFiles } from '../harness/observe.js'
import type { Finished } from '../harness/process.js'
import { difference, takeSnapshot } from '../harness/snapshot.js'
import { families, familyOf, versions } from '../protocol/versions.js'
import { bridgeNetwork } from './networks.js'

const leases = '/var/lib/cni/networks/network'
const silent = { signal: null, status: 0, stdout: '', stderr: '' }

function tool(host: Host, netns: string) {
  return (verb: CnitoolVerb): Promise<Finished> => runCnitool(host, verb, 'network', { netns })
}

describe.each(versions)('cnitool and a network of version %s', (cniVersion) => {
  test('ADD, CHECK, DEL, again DEL, STATUS and GC', async ({ host }) => {
    const { netns } = await host.container()
    writeConflist(host, bridgeNetwork({ cniVersion }))
    const cni = tool(host, netns)

    expect(await cni('status')).toEqual(silent)
    const added = await cni('add')
    expect(added.stderr).toBe('')
    const result = resultOf(added)
    expect(result.cniVersion).toBe(cniVersion)
    expect(Object.keys(result)).toEqual(
      familyOf(cniVersion) === 'A'
        ? ['cniVersion', 'ip4', 'ip6', 'dns']
        : ['cniVersion', 'interfaces', 'ips', 'routes', ...(familyOf(cniVersion) === 'B' ? ['dns'] : [])],
    )

    const hasCheck = cniVersion === '0.4.0' || (families.C as readonly string[]).includes(cniVersion)
    const checked = await cni('check')
    if (hasCheck) expect(checked).toEqual(silent)
    else expect(checked.stderr).toContain('does not support the CHECK command')

    expect(await cni('del')).toEqual(silent)
    expect(await cni('del')).toEqual(silent)
    expect(Object.keys(readFiles(host, leases)).filter((name) => /^(10|fd00)/.test(name))).toEqual([])
    expect(await cni('gc')).toEqual(silent)
  })

  test('what ADD made on top of a first ADD and DEL is gone after DEL', async ({ host }) => {
    const [first, second] = [await host.container(), await host.container()]
    writeConflist(host, bridgeNetwork({ cniVersion }))
    const state = () => takeSnapshot(host, { directories: ['/var/lib/cni/networks'] })
    // The bridge, its addresses, forwarding and the rule table belong to the network and stay, as in the official
    // suite.
    expect((await tool(host, first.netns)('add')).status).toBe(0)
    const one = await state()
    expect((await tool(host, second.netns)('add')).status).toBe(0)
    expect((await tool(host, second.netns)('del')).status).toBe(0)
    const cursor = (line: string) => line.startsWith('file ') && line.includes('last_reserved_ip')
    const left = difference(one, await state()).split('\n')
    expect(left.filter((line) => line !== '' && !cursor(line.slice(2)))).toEqual([])
  })
})

describe('cnitool gc', () => {
  test('removes attachments of containers that vanished', async ({ host }) => {
    const gone = await host.container()
    writeConflist(host, bridgeNetwork())
    expect((await tool(host, gone.netns)('add')).status).toBe(0)
    await gone.remove()
    expect(await tool(host, gone.netns)('gc')).toEqual(silent)
    expect(Object.keys(readFiles(host, leases)).filter((name) => /^(10|fd00)/.test(name))).toEqual([])
    const rules = (await takeSnapshot(host)).filter((line) => /10\.1\.2\.2\b|fd00:1:2::2\b/.test(line))
    expect(rules).toEqual([])
  })

  test('a second ADD is refused, and says why in one line', async ({ host }) => {
    const { netns } = await host.container()
    writeConflist(host, bridgeNetwork())
    const cni = tool(host, netns)
    expect((await cni('add')).status).toBe(0)
    const before = await takeSnapshot(host, { directories: ['/var/lib/cni/networks'] })
    const again = await cni('add')
    expect(again).toMatchObject({ status: 1, stdout: '' })
    expect(again.stderr).toMatch(/^Error: plugin type="bridge" failed \(add\): bridge: network "network": .*eth0/)
    expect(difference(before, await takeSnapshot(host, { directories: ['/var/lib/cni/networks'] }))).toBe('')
    expect(await cni('check')).toEqual(silent)
  })
})
