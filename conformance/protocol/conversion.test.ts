import { afterAll, beforeAll, describe, expect } from 'vitest'
import { test } from '../harness/fixture.js'
import { Host } from '../harness/host.js'
import type { Suite } from '../harness/locations.js'
import { runPlugin } from '../harness/plugin.js'
import { installScripts, scriptDirectory } from '../harness/scripts.js'
import { normalise } from '../harness/snapshot.js'
import { type Family, familyOf, type Version, versions } from './versions.js'

const dns = { nameservers: ['10.1.0.1'], options: ['o'] }

// What a delegate answers, by the family of the version it was built for.
const answers: Record<Family, object> = {
  A: {
    ip4: { ip: '10.1.0.5/16', gateway: '10.1.0.1', routes: [{ dst: '0.0.0.0/0' }] },
    ip6: { ip: 'fd00::5/64', routes: [{ dst: 'fd01::/48', gw: 'fd00::9' }] },
    dns,
  },
  B: {
    ips: [
      { version: '4', address: '10.1.0.5/16', gateway: '10.1.0.1' },
      { version: '4', address: '10.1.0.6/16' },
      { version: '6', address: 'fd00::5/64' },
    ],
    routes: [{ dst: '0.0.0.0/0' }, { dst: '10.7.0.0/16', gw: '10.1.0.9', priority: 7 }],
    dns,
  },
  C: {
    ips: [{ address: 'fd00::5/64' }, { address: '10.1.0.5/16', gateway: '10.1.0.1' }],
    routes: [{ dst: '10.7.0.0/16', gw: '10.1.0.9', priority: 7, table: 100, scope: 0 }],
    dns,
  },
}

let host: Host

beforeAll(async () => {
  host = await Host.create()
  await host.container('x')
  for (const version of versions) {
    const answer = JSON.stringify({ cniVersion: version, ...answers[familyOf(version)] })
    installScripts(host, { [`speaks-${version}`]: `[ "$CNI_COMMAND" = ADD ] && echo '${answer}' || exit 0` })
  }
})

afterAll(() => host.dispose())

async function converted(suite: Suite, from: Version, to: Version): Promise<string[]> {
  const config = { cniVersion: to, name: 'n', type: 'bridge', bridge: suite, ipam: { type: `speaks-${from}` } }
  const call = { suite, plugin: 'bridge', config, path: scriptDirectory, netns: '/run/netns/x' } as const
  const { stdout, stderr, status } = await runPlugin(host, { ...call, command: 'ADD' })
  expect(status, stdout + stderr).toBe(0)
  const links = await host.output(['ip', '-br', 'link'])
  expect((await runPlugin(host, { ...call, command: 'DEL' })).status).toBe(0)
  const names = links.split('\n').map((line) => line.split(/[@ ]/)[0] ?? '')
  // Lines lose their order in a snapshot; here the whole text is one line.
  return normalise([stdout.replace(`"${suite}"`, '"bridge"')], names)
}

describe('a delegate may answer in any version', () => {
  for (const from of versions) {
    test(`from ${from}: converted to every version as the official plugin does`, async () => {
      for (const to of versions) {
        expect(await converted('podwire', from, to), `to ${to}`).toEqual(await converted('official', from, to))
      }
    })
  }
})
