import { randomUUID } from 'node:crypto'
import { existsSync } from 'node:fs'
import { describe, expect } from 'vitest'
import { test } from './fixture.js'
import { Host } from './host.js'
import { until } from './process.js'

describe('the test host', () => {
  test('has its own devices, /run and /var/lib', async ({ host }) => {
    expect((await host.output(['ls', '/sys/class/net'])).trim()).toBe('lo')
    expect(await host.output(['ls', '/var/lib'])).toBe('')
    // A name that this machine has not, whatever it is used for.
    const own = `/run/${randomUUID()}`
    await host.output(['mkdir', '-p', own, '/var/lib/cni'])
    expect(existsSync(own)).toBe(false)
    expect(existsSync(host.path(own))).toBe(true)
    expect((await host.exec(['touch', '/written'])).stderr).toContain('Read-only file system')
  })

  test('names containers as a runtime does, and unseen from the machine', async ({ host }) => {
    const container = await host.container('c1')
    expect(container.netns).toBe('/run/netns/c1')
    expect(existsSync(container.netns)).toBe(false)
    expect(await host.output(['ip', 'netns'])).toContain('c1')
    expect(await container.netnsOfProcess()).toMatch(/^\/proc\/\d+\/ns\/net$/)
    await host.output(['test', '-e', '/var/run/netns/c1'])
  })

  test('reaches its outside over IPv4 and IPv6', async ({ host }) => {
    const { container } = await host.outside()
    await host.output(['ping', '-n', '-c', '1', '-w', '15', '192.0.2.2'])
    await container.output(['ping', '-n', '-c', '1', '-w', '15', '2001:db8:f::1'])
  })

  test('takes everything away at its end, and tells of what was left running', async () => {
    const host = await Host.create()
    const { pid } = host
    await host.container()
    await host.output(['sh', '-c', 'sleep 600 >/dev/null 2>&1 &'])
    // The shell has ended, and what it made may still be one.
    await until('it sleeps', () => host.processes().some((one) => one.endsWith(' sleep 600')))
    await expect(host.dispose()).rejects.toThrow(/left running in the test host:\n\d+ sleep 600/)
    expect(existsSync(`/proc/${pid}`)).toBe(false)
  })

  test('ends a server with all that it started, whoever holds its output', async () => {
    const host = await Host.create()
    host.start(['sh', '-c', 'sleep 600 >/dev/null 2>&1 & read end'], { keepOpen: true })
    await until('it sleeps', () => host.processes().some((one) => one.endsWith(' sleep 600')))
    await host.dispose()
  })

  test('says which command failed and why', async ({ host }) => {
    await expect(host.output(['ip', 'link', 'show', 'nosuch'])).rejects.toThrow(
      /ip link show nosuch: exit 1: .*does not exist/,
    )
  })
})
