import { expect } from 'vitest'
import { resultOf, succeedSilently } from '../harness/answer.js'
import { test } from '../harness/fixture.js'
import { type Call, runPlugin, runTraced } from '../harness/plugin.js'
import { difference, takeSnapshot } from '../harness/snapshot.js'

const portMappings = [{ hostPort: 8080, containerPort: 80, protocol: 'tcp' }]
const prevResult = { cniVersion: '1.1.0', ips: [{ address: '10.1.2.9/24' }] }
const call = (command: 'ADD' | 'DEL' | 'GC', netns: string): Call => {
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
  expect(calls.match(/IORING_REGISTER_FILES, \[\d+, -1, .*\], 32\) += 0/g) ?? []).toHaveLength(registered)
})

test('questions behind what was removed leave their sockets to a ring, too, as their closing would wait', async ({
  host,
}) => {
  const { netns } = await host.container()
  const plugins = [
    { type: 'bridge', isGateway: true, ipMasq: true, ipam: { type: 'host-local', subnet: '10.1.2.0/24' } },
    { type: 'portmap' },
    { type: 'firewall' },
  ]
  const config = { cniVersion: '1.1.0', name: 'network', type: 'chain', plugins }
  resultOf(await runPlugin(host, { plugin: 'chain', command: 'ADD', config, netns }))
  const { calls, ...deleted } = await runTraced(host, { plugin: 'chain', command: 'DEL', config, netns })
  expect(deleted).toMatchObject({ status: 0, stdout: '' })
  const behind = calls.slice(calls.search(/nlmsg_type=0xa0e/))
  const sockets = [...behind.matchAll(/socket\(AF_NETLINK, .*NETLINK_NETFILTER\) += (\d+)/g)]
  expect(sockets).not.toEqual([])
  for (const { index, 1: fd } of sockets) {
    const [until = ''] = behind.slice(index).split(`close(${fd})`)
    expect(until).toMatch(/io_uring_register\(.*\) += [01]$/m)
  }
})

test('a GC that removes of 40 what each of them has keeps no more files open than one that removes of two', async ({
  host,
}) => {
  const { netns } = await host.container()
  const most = async (count: number) => {
    for (let index = 0; index < count; index++) {
      const { config, ...rest } = call('ADD', netns)
      const ports = [{ hostPort: 8080 + index, containerPort: 80, protocol: 'tcp' }]
      const ips = [{ address: `10.1.2.${index + 2}/24` }]
      const own = { ...(config as object), runtimeConfig: { portMappings: ports }, prevResult: { ...prevResult, ips } }
      resultOf(await runPlugin(host, { ...rest, config: own, containerID: `container${index}` }))
    }
    const config = { ...(call('GC', netns).config as object), 'cni.dev/valid-attachments': [] }
    const { calls, ...collected } = await runTraced(host, { plugin: 'portmap', command: 'GC', config })
    expect(collected).toMatchObject({ status: 0, stdout: '' })
    const sockets = [...calls.matchAll(/socket\(AF_NETLINK, .*NETLINK_NETFILTER\) += (\d+)/g)].map(([, fd]) =>
      Number(fd),
    )
    return { sockets: sockets.length, highest: Math.max(...sockets) }
  }
  const [few, many] = [await most(2), await most(40)]
  expect(many.sockets).toBeGreaterThan(few.sockets + 30)
  // A ring has room for 32.
  expect(many.highest).toBeLessThanOrEqual(few.highest + 6)
})
