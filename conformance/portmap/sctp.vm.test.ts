import { expect } from 'vitest'
import { test } from '../harness/fixture.js'
import { until } from '../harness/process.js'
import { addresses, publish, publishing } from './setting.js'

// Few kernels for test machines have SCTP; Debian's does.
test('an SCTP port is answered from outside over both families', async ({ host }) => {
  const { container: outside } = await host.outside()
  const container = await host.container()
  await publish(host, container, [{ hostPort: 9000, containerPort: 9001, protocol: 'sctp' }])
  const server = container.start(['socat', 'SCTP6-LISTEN:9001,fork,reuseaddr', 'EXEC:echo answered'])
  await until('the server listens', async () =>
    (await container.output(['cat', '/proc/net/sctp/eps'])).includes(' 9001 '),
  )
  for (const target of [`SCTP4:${addresses[4]}:9000`, `SCTP6:[${addresses[6]}]:9000`]) {
    expect(await outside.output(['socat', '-u', target, '-'])).toBe('answered\n')
  }
  server.child.kill('SIGKILL')
  await server.finished
})

test('a process of the host that listens on SCTP is named, or left its loopback address', async ({ host }) => {
  const { container: outside } = await host.outside()
  const container = await host.container()
  const mapping = { hostPort: 9000, containerPort: 9001, protocol: 'sctp' }
  const isUp = (port: number) => async () =>
    (await host.output(['cat', '/proc/net/sctp/eps'])).split(' ').includes(String(port))
  const cut = host.start(['socat', 'SCTP4-LISTEN:9000,fork,reuseaddr', 'EXEC:echo host'])
  await until('the server listens', isUp(9000))
  const refused = publishing(host, container, [mapping])
  await expect(refused.add()).rejects.toThrow(/host port 9000\/sctp: process \d+ \(socat/)
  await refused.del()
  cut.child.kill('SIGKILL')
  await cut.finished
  const left = host.start(['socat', 'SCTP4-LISTEN:9000,bind=127.0.0.1,fork,reuseaddr', 'EXEC:echo host'])
  await until('the server listens', isUp(9000))
  await publish(host, container, [mapping])
  const server = container.start(['socat', 'SCTP6-LISTEN:9001,fork,reuseaddr', 'EXEC:echo container'])
  await until('the server listens', async () =>
    (await container.output(['cat', '/proc/net/sctp/eps'])).includes(' 9001 '),
  )
  expect(await host.output(['socat', '-u', 'SCTP4:127.0.0.1:9000', '-'])).toBe('host\n')
  expect(await outside.output(['socat', '-u', `SCTP4:${addresses[4]}:9000`, '-'])).toBe('container\n')
  for (const one of [left, server]) {
    one.child.kill('SIGKILL')
    await one.finished
  }
})
