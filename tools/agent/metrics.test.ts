import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { placeOf } from '../frame/place.js'
import { Metrics } from './metrics.js'

test('addresses are told as they are leased when somebody asks, the first time and each time', async () => {
  const root = mkdtempSync(path.join(tmpdir(), 'podwire-metrics-'))
  onTestFinished(() => rmSync(root, { recursive: true }))
  const leases = path.join(root, 'var/lib/cni/networks/podwire')
  const configurations = path.join(root, 'etc/cni/net.d')
  for (const folder of [leases, configurations]) mkdirSync(folder, { recursive: true })
  const ipam = { type: 'host-local', ranges: [[{ subnet: '10.244.1.0/24' }]] }
  const list = { cniVersion: '1.0.0', name: 'podwire', plugins: [{ type: 'ptp', ipam }] }
  writeFileSync(path.join(configurations, '10-podwire.conflist'), JSON.stringify(list))

  const { registry } = new Metrics(placeOf({ root }), () => 0)
  const told = async () =>
    (await registry.metrics()).split('\n').filter((line) => /^podwire_(attachments|leases)/.test(line))
  const of = '{network="podwire",range="10.244.1.1-10.244.1.254"}'
  writeFileSync(path.join(leases, '10.244.1.2'), 'one\r\neth0')
  expect(await told()).toEqual([
    'podwire_attachments{network="podwire"} 1',
    `podwire_leases_used${of} 1`,
    `podwire_leases_free${of} 252`,
  ])
  writeFileSync(path.join(leases, '10.244.1.3'), 'two\r\neth0')
  expect(await told()).toEqual([
    'podwire_attachments{network="podwire"} 2',
    `podwire_leases_used${of} 2`,
    `podwire_leases_free${of} 251`,
  ])
})
