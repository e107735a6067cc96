import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { describe, expect } from 'vitest'
import { listPlugins } from '../shared/bundling/plugins.js'
import { test } from './harness/fixture.js'
import { repository, suites } from './harness/locations.js'
import { run } from './harness/process.js'
import { difference, takeSnapshot } from './harness/snapshot.js'

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

  test('ends in silence where nobody reads on', async () => {
    const { stdout, stderr } = await run(['sh', '-c', `${program} explain bridge | head -n 1`])
    expect([stdout.split('\n').length, stderr]).toEqual([2, ''])
  })

  test("is not disturbed by the caller's NODE_OPTIONS", async () => {
    const { status, stderr } = await run([program, 'help'], { env: { NODE_OPTIONS: '--require=/none.js' } })
    expect([status, stderr]).toEqual([0, ''])
  })
})

describe('on a host', () => {
  const bridge = { type: 'bridge', bridge: 'br0', isGateway: true, ipMasq: true, hairpinMode: true }
  const list = {
    cniVersion: '1.0.0',
    name: 'net',
    plugins: [
      { ...bridge, ipam: { type: 'host-local', subnet: '10.1.2.0/24' } },
      { type: 'portmap', capabilities: { portMappings: true } },
      { type: 'tuning', mtu: 1400 },
      { type: 'bandwidth', ingressRate: 1000000, ingressBurst: 1000000 },
    ],
  }
  const file = '/run/net.conflist'
  const everything = { directories: ['/var/lib', '/run'] }
  const bin = ['--bin', suites.podwire]

  test('plan shows what the list would do and the result, and changes nothing', async ({ host }) => {
    writeFileSync(host.path(file), JSON.stringify(list))
    const before = await takeSnapshot(host, everything)
    const given = '{"portMappings": [{"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}]}'
    const { status, stdout, stderr } = await host.exec([
      program,
      'plan',
      file,
      '--runtime-config',
      given,
      '--json',
      ...bin,
    ])
    expect([status, stderr]).toEqual([0, ''])
    const { steps, result } = JSON.parse(stdout) as { steps: { commands: string[] }[]; result: { ips: object[] } }
    const [made = '', published = '', tuned = '', limited = ''] = steps.map(({ commands }) => commands.join('\n'))
    expect(made).toMatch(
      /^ip link add name br0 .*^nsenter --net=\$NETNS ip addr add 10\.1\.2\.2\/24 brd \+ dev eth0$/ms,
    )
    expect(published).toMatch(/^nft 'create element ip podwire portmap_ports .*8080.*10\.1\.2\.2/m)
    expect(tuned).toMatch(/^nsenter --net=\$NETNS ip link set dev eth0 mtu 1400$/m)
    expect(limited).toMatch(/^# what it does follows from \S+, which is not there yet$/m)
    expect(result.ips).toMatchObject([{ address: '10.1.2.2/24' }])
    expect(difference(before, await takeSnapshot(host, everything))).toBe('')
  })

  test('plan --verb DEL goes from the end, without a mistake for a container that never was', async ({ host }) => {
    writeFileSync(host.path(file), JSON.stringify(list))
    const { status, stdout } = await host.exec([program, 'plan', file, '--verb', 'DEL', '--json', ...bin])
    const { steps } = JSON.parse(stdout) as { steps: { type: string; error?: string }[] }
    expect(steps.map(({ type, error }) => [type, error])).toEqual([
      ['bandwidth', undefined],
      ['tuning', undefined],
      ['portmap', undefined],
      ['bridge', undefined],
    ])
    expect(status).toBe(0)
  })

  test('plan says what a plugin refuses', async ({ host }) => {
    const [made] = list.plugins
    writeFileSync(host.path(file), JSON.stringify({ ...list, plugins: [{ ...made, promiscMode: true }] }))
    const { status, stdout } = await host.exec([program, 'plan', file, ...bin])
    expect(status).toBe(1)
    expect(stdout).toMatch(/^# refuses: .*promiscMode/m)
  })

  test('lint asks the plugins for VERSION and finds the host right', async ({ host }) => {
    writeFileSync(host.path(file), JSON.stringify(list))
    const right = await host.exec([program, 'lint', file, '--host', 'always', ...bin])
    expect(right).toMatchObject({ status: 0, stdout: '0 errors, 0 warnings, 0 notes\n', stderr: '' })
    await host.output(['ip', 'link', 'add', 'name', 'br9', 'type', 'bridge'])
    await host.output(['ip', 'link', 'set', 'dev', 'br9', 'up'])
    await host.output(['ip', 'addr', 'add', '10.1.0.1/16', 'dev', 'br9'])
    const wrong = await host.exec([program, 'lint', file, '--host', 'always', ...bin])
    expect(wrong.status).toBe(1)
    expect(wrong.stdout).toContain('10.1.2.0/24 overlaps 10.1.0.0/16, a route by br9 [subnet-overlap]')
  })
})
