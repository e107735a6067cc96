import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { Ajv2020 } from 'ajv/dist/2020.js'
import { describe, expect, onTestFinished, test } from 'vitest'
import { command } from '../../shared/testing/program.js'
import { jsonSchemaOf } from '../schema/schemas.js'

// What plugins of ours would do is in conformance/podwire.test.ts, on a host of its own.

function file(content: object | string, name = 'a.conflist'): string {
  const folder = mkdtempSync(path.join(tmpdir(), 'podwire-plan-test-'))
  onTestFinished(() => rmSync(folder, { recursive: true }))
  const made = path.join(folder, name)
  writeFileSync(made, typeof content === 'string' ? content : JSON.stringify(content))
  return made
}

const bridge = { type: 'bridge', ipam: { type: 'host-local', subnet: '10.1.0.0/24' } }
const ports = { type: 'portmap', capabilities: { portMappings: true } }
const list = { cniVersion: '1.0.0', name: 'net', disableCheck: true, plugins: [bridge, ports, { type: 'istio-cni' }] }
const foreign = { cniVersion: '1.0.0', name: 'net', plugins: [{ type: 'aws-cni' }, { type: 'istio-cni' }] }
const here = ['--netns', '/proc/self/ns/net']

test.each([
  ['ADD', ['plugins[0] aws-cni', 'plugins[1] istio-cni']],
  ['DEL', ['plugins[1] istio-cni', 'plugins[0] aws-cni']],
])("%s of others' plugins says what a runtime would execute", async (verb, order) => {
  const { status, stdout } = await command(['plan', file(foreign), '--verb', verb, '--bin', '/cni', ...here])
  expect(status).toBe(0)
  expect(stdout).toBe(order.map((one) => `# ${one}: executes /cni/${one.split(' ')[1]}\n\n`).join(''))
})

test('--json has the steps', async () => {
  const { stdout } = await command(['plan', file(foreign), '--json', ...here])
  const step = { path: 'plugins[0]', type: 'aws-cni', executes: '/opt/cni/bin/aws-cni', commands: [] }
  const told = JSON.parse(stdout)
  expect(told).toMatchObject({ command: 'plan', formatVersion: 1, network: 'net', verb: 'ADD' })
  expect(told.steps[0]).toEqual(step)
  expect(told).not.toHaveProperty('result')
})

describe('--chain', () => {
  const chained = async (content: object, name?: string) =>
    JSON.parse((await command(['plan', file(content, name), '--chain'])).stdout)

  test('writes the list as one chain', async () => {
    const told = await chained(list)
    expect(told).toEqual({
      cniVersion: '1.0.0',
      name: 'net',
      disableCheck: true,
      plugins: [{ type: 'chain', capabilities: { portMappings: true }, plugins: list.plugins }],
    })
    const validate = new Ajv2020().compile(jsonSchemaOf('list'))
    expect(validate(told), JSON.stringify(validate.errors)).toBe(true)
  })

  test('of one plugin, too', async () => {
    const told = await chained({ cniVersion: '1.0.0', name: 'one', ...bridge }, 'a.conf')
    expect(told).toEqual({ cniVersion: '1.0.0', name: 'one', plugins: [{ type: 'chain', plugins: [bridge] }] })
  })
})

test.each([
  ['/none/a.conflist', [], 'there is no /none/a.conflist'],
  [file.bind(undefined, '{', 'a.conf'), [], ':1: no JSON: it ends too early'],
  [file.bind(undefined, 'kind: Pod\n', 'a.yaml'), [], 'describes no network'],
  [file.bind(undefined, foreign), ['--runtime-config', '[]'], '--runtime-config is no JSON object'],
  [file.bind(undefined, foreign), ['--verb', 'CHECK'], 'Allowed choices are ADD, DEL'],
])('%s %j is wrong use', async (where, words, message) => {
  const name = typeof where === 'string' ? where : where()
  const { status, stdout, stderr } = await command(['plan', name, ...here, ...words])
  expect([status, stdout]).toEqual([2, ''])
  expect(stderr).toContain(message)
})
