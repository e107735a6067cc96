import { names } from 'podwire:plugins'
import { version } from 'podwire:version'
import { describe, expect, test } from 'vitest'
import { command } from '../shared/testing/program.js'

const run = (...words: string[]) => command(words)

test('version tells the plugins and the CNI versions they speak', async () => {
  const { status, stdout, stderr } = await run('version')
  expect([status, stderr]).toEqual([0, ''])
  expect(stdout).toContain(`podwire ${version}, commit `)
  for (const name of names) expect(stdout).toMatch(new RegExp(`^  ${name} .*1\\.1\\.0$`, 'm'))
  expect(stdout).toMatch(/^ {2}PODWIRE_NO_NETLINK +1: look and change by ip/m)
})

test('version --json is one object', async () => {
  const { status, stdout } = await run('version', '--json')
  const told = JSON.parse(stdout)
  expect(status).toBe(0)
  const ours = { command: 'version', formatVersion: 1, version, node: process.version }
  expect(told).toMatchObject({ ...ours, platform: `linux-${process.arch}` })
  expect(told.plugins.map(({ name }: { name: string }) => name)).toEqual(names)
  expect(told.plugins.find(({ name }: { name: string }) => name === 'bridge').cniVersions).toContain('0.4.0')
})

describe('the words', () => {
  test.each([[[]], [['help']], [['--help']]])('%j list the commands on stdout', async (words) => {
    const { status, stdout, stderr } = await run(...words)
    expect([status, stderr]).toEqual([0, ''])
    expect(stdout).toMatch(/^ {2}version \[options\] +print the version of the suite/m)
    expect(stdout).toMatch(/^ {2}help \[command\]/m)
    expect(stdout).not.toMatch(/^ {2}complete /m)
  })

  test('help COMMAND prints what it takes', async () => {
    const { status, stdout } = await run('help', 'version')
    expect(status).toBe(0)
    expect(stdout).toContain('Usage: podwire version [options]')
    expect(stdout).toContain('--json')
    expect(stdout).toContain('Exit status: 0: fine or done; 2: wrong use, or it could not look.')
  })

  test('--version is one line', async () => {
    expect(await run('--version')).toEqual({ status: 0, stdout: `${version}\n`, stderr: '' })
  })

  test.each([
    [['verison'], "unknown command 'verison'", 'Did you mean version?'],
    [['version', '--jsn'], "unknown option '--jsn'", 'Did you mean --json?'],
    [['version', 'bridge'], 'too many arguments', 'podwire help lists the commands'],
  ])('%j is wrong use, with a hint', async (words, what, hint) => {
    const { status, stdout, stderr } = await run(...words)
    expect([status, stdout]).toEqual([2, ''])
    expect(stderr).toContain(what)
    expect(stderr).toContain(hint)
  })
})
