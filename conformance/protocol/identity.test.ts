import { randomUUID } from 'node:crypto'
import { copyFileSync, linkSync, mkdirSync, readdirSync, rmSync, statSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect } from 'vitest'
import { test } from '../harness/fixture.js'
import { Host } from '../harness/host.js'
import { commandPath, suites, systemCommand } from '../harness/locations.js'
import { runPlugin } from '../harness/plugin.js'
import type { Finished } from '../harness/process.js'
import { versions } from './versions.js'

/** All but the program for people. */
const plugins = readdirSync(suites.podwire).filter(
  (name) => name !== 'podwire' && statSync(join(suites.podwire, name)).isFile(),
)
const oldest: Record<string, string> = { bandwidth: '0.3.0', vrf: '0.3.1', firewall: '0.4.0' }

let host: Host

beforeAll(async () => {
  host = await Host.create()
})

afterAll(() => host.dispose())

const supported = (plugin: string) => versions.filter((version) => version >= (oldest[plugin] ?? '0.1.0'))

test('there are plugins to test', () => {
  expect(plugins).toEqual(expect.arrayContaining(['bridge', 'host-local', 'loopback']))
})

describe.each(plugins)('%s says who it is', (plugin) => {
  test('VERSION lists what the official plugin supports', async () => {
    const { status, stdout, stderr } = await runPlugin(host, { plugin, command: 'VERSION' })
    const expected = JSON.stringify({ cniVersion: '1.1.0', supportedVersions: supported(plugin) })
    expect({ status, stdout, stderr }).toEqual({ status: 0, stdout: `${expected}\n`, stderr: '' })
  })

  test('the about text goes to stderr', async () => {
    const { status, stdout, stderr } = await host.exec([join(suites.podwire, plugin)])
    expect({ status, stdout }).toEqual({ status: 0, stdout: '' })
    const versionsLine = `CNI protocol versions supported: ${supported(plugin).join(', ')}`
    expect(stderr.split('\n')).toEqual([expect.stringMatching(`^CNI ${plugin} plugin v\\S+$`), versionsLine, ''])
  })
})

describe('a binary knows its name however it is started', () => {
  const original = join(suites.podwire, 'loopback')
  const directory = join(suites.podwire, `../identity-${randomUUID()}`)

  beforeAll(() => {
    for (const way of ['symlink', 'hardlink', 'copy']) mkdirSync(join(directory, way), { recursive: true })
    symlinkSync(original, join(directory, 'symlink/bridge'))
    copyFileSync(original, join(directory, 'copy/bridge'))
    // Of the copy: in the virtual machine's file system a new link to a file parts it from those that it has.
    linkSync(join(directory, 'copy/bridge'), join(directory, 'hardlink/bridge'))
    symlinkSync('../hardlink/bridge', join(directory, 'symlink/loopback'))
  })

  afterAll(() => rmSync(directory, { recursive: true }))

  const about = async (argv: string[]): Promise<string> => {
    const { status, stderr }: Finished = await host.exec(argv)
    expect(status, stderr).toBe(0)
    return stderr.split('\n')[0] ?? ''
  }

  test.each(['symlink', 'hardlink', 'copy'])('by a %s under another name', async (way) => {
    expect(await about([join(directory, way, 'bridge')])).toMatch(/^CNI bridge plugin /)
  })

  test('by a symbolic link that points to another name', async () => {
    expect(await about([join(directory, 'symlink/loopback')])).toMatch(/^CNI loopback plugin /)
  })

  // bash takes a socket on its standard input for a remote shell and would read the user's start-up file.
  const shell = [systemCommand('bash'), '--norc']

  test('with argv[0] a full path, as Go does', async () => {
    const path = join(suites.podwire, 'bridge')
    expect(await about([...shell, '-c', 'exec -a "$1" "$1"', 'sh', path])).toMatch(/^CNI bridge plugin /)
  })

  test('with argv[0] a bare name, found on PATH', async () => {
    const env = { PATH: `${suites.podwire}:${commandPath}` }
    const { stderr } = await host.exec([...shell, '-c', 'exec host-local'], { env })
    expect(stderr).toMatch(/^CNI host-local plugin /)
  })

  test('with arguments, which are ignored', async () => {
    expect(await about([join(suites.podwire, 'bridge'), '--version', '--inspect'])).toMatch(/^CNI bridge plugin /)
  })

  test('all names are one file', () => {
    expect(new Set(plugins.map((plugin) => statSync(join(suites.podwire, plugin)).ino)).size).toBe(1)
  })
})
