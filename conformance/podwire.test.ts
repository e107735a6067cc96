import { readdirSync, readFileSync, statSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { listPlugins } from '../shared/bundling/plugins.js'
import { repository, suites } from './harness/locations.js'
import { run } from './harness/process.js'

// The program `podwire` as it is built; what its commands do has rows beside them (tools/).

const program = `${suites.podwire}/podwire`
const names = listPlugins(repository).map(({ name }) => name)
const { version } = JSON.parse(readFileSync(`${repository}/package.json`, 'utf8')) as { version: string }

test('it stands beside the plugins, in a file of its own', () => {
  const files = readdirSync(suites.podwire, { withFileTypes: true }).filter((one) => one.isFile())
  expect(files.map(({ name }) => name).sort()).toEqual([...names, 'podwire'].sort())
  const inodes = names.map((name) => statSync(`${suites.podwire}/${name}`).ino)
  expect(new Set(inodes).size).toBe(1)
  expect(inodes).not.toContain(statSync(program).ino)
})

describe('podwire', () => {
  test('version --json tells what was built', async () => {
    const { status, stdout, stderr } = await run([program, 'version', '--json'])
    expect([status, stderr]).toEqual([0, ''])
    const told = JSON.parse(stdout)
    expect(told).toMatchObject({ version, node: process.version, platform: `linux-${process.arch}` })
    expect(told.plugins.map(({ name }: { name: string }) => name)).toEqual(names)
    expect(told.commit).toMatch(/^([0-9a-f]{12}(-changed)?|unknown)$/)
  })

  test('says of every plugin the versions that it answers itself', async () => {
    const { plugins } = JSON.parse((await run([program, 'version', '--json'])).stdout)
    for (const { name, cniVersions } of plugins as { name: string; cniVersions: string[] }[]) {
      const { stdout } = await run([`${suites.podwire}/${name}`], { env: { CNI_COMMAND: 'VERSION' }, stdin: '{}' })
      expect(JSON.parse(stdout).supportedVersions, name).toEqual(cniVersions)
    }
  })

  test('help lists the commands; wrong use ends with 2', async () => {
    expect(await run([program, 'help'])).toMatchObject({ status: 0, stdout: expect.stringContaining('version') })
    expect(await run([program])).toMatchObject({ status: 0 })
    expect(await run([program, 'vresion'])).toMatchObject({
      status: 2,
      stdout: '',
      stderr: expect.stringContaining('Did you mean version?'),
    })
  })

  test("is not disturbed by the caller's NODE_OPTIONS", async () => {
    const { status, stderr } = await run([program, 'help'], { env: { NODE_OPTIONS: '--require=/none.js' } })
    expect([status, stderr]).toEqual([0, ''])
  })
})
