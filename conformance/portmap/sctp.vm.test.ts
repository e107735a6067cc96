import { expect } from 'vitest'
import { test } from '../harness/fixture.js'
import { until } from '../harness/process.js'
import { addresses, publish } from './setting.js'

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
