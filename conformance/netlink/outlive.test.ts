import { expect } from 'vitest'
import { resultOf, succeedSilently } from '../harness/answer.js'
import { test } from '../harness/fixture.js'
import { type Call, runPlugin, runTraced } from '../harness/plugin.js'
import { difference, takeSnapshot } from '../harness/snapshot.js'

const portMappings = [{ hostPort: 8080, containerPort: 80, protocol: 'tcp' }]
const prevResult = { cniVersion: '1.1.0', ips: [{ address: '10.1.2.9/24' }] }
const call = (command: 'ADD' | 'DEL', netns: string): Call => {
  const config = { cniVersion: '1.1.0', name: 'network', type: 'portmap', runtimeConfig: { portMappings }, prevResult }
  return { plugin: 'portmap', command, config, netns }
}

test.for([
  { what: 'a ring keeps the socket', refused: [], registered: 1 },
  { what: 'no rings', refused: ['io_uring_setup'], registered: 0 },
  { what: 'no files in rings', refused: ['io_uring_register'], registered: 0 },
])('a DEL removes everything, with a ring or without: $what', async ({ refused, registered }, { host, skip }) => {
  const { netns } = await host.container()
  resultOf(await runPlugin(host, call('ADD', netns)))
  succeedSilently(await runPlugin(host, call('DEL', netns)))
  const before = await takeSnapshot(host, { directories: ['/run/podwire'] })
  resultOf(await runPlugin(host, call('ADD', netns)))
  const inject = refused.flatMap((name) => ['-e', `inject=${name}:error=EPERM`])
  const options = ['-e', 'trace=io_uring_setup,io_uring_register', ...inject]
  const { calls, ...deleted } = await runTraced(host, call('DEL', netns), options)
  expect(deleted.stdout).toBe('')
  expect(deleted.status).toBe(0)
  expect(difference(before, await takeSnapshot(host, { directories: ['/run/podwire'] }))).toBe('')
  if (refused.length === 0 && !/io_uring_setup\(.* = \d/.test(calls)) skip('this kernel gives no rings')
  expect(calls.match(/IORING_REGISTER_FILES, \[\d+\], 1\) += 0/g) ?? []).toHaveLength(registered)
})
