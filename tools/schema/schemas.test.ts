import { globSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { ipams, names } from 'podwire:plugins'
import { Ajv2020 } from 'ajv/dist/2020.js'
import { describe, expect, test } from 'vitest'
import { command } from '../../shared/testing/program.js'
import { jsonSchemaOf, schemaNames } from './schemas.js'

const root = path.resolve(import.meta.dirname, '../..')
const read = (file: string) => JSON.parse(readFileSync(path.join(root, file), 'utf8'))
const validators = new Map(
  schemaNames.map((name) => [name, new Ajv2020({ allErrors: true }).compile(jsonSchemaOf(name))]),
)

/** What a schema finds wrong with a value: the places, and the words of ajv. */
function faults(name: string, value: unknown): string[] {
  const validate = validators.get(name)
  validate?.(value)
  return (validate?.errors ?? [])
    .filter(({ keyword }) => keyword !== 'if')
    .map((error) => {
      return `${error.instancePath} ${error.keyword}`
    })
}

const examples = globSync('examples/*.conflist', { cwd: root }).sort()

test('there are examples', () => {
  expect(examples.length).toBeGreaterThanOrEqual(9)
})

test.each(examples)('%s is a list by the schema', (file) => {
  expect(faults('list', read(file))).toEqual([])
})

test.each(examples)('every plugin in %s is a configuration, and one of its own plugin', (file) => {
  const { plugins } = read(file) as { plugins: { type: string }[] }
  for (const plugin of plugins) {
    expect(faults('configuration', { name: 'net', ...plugin })).toEqual([])
    if (names.includes(plugin.type)) expect(faults(plugin.type, plugin), plugin.type).toEqual([])
  }
})

test('the configurations that docs/networks.md shows are right, too', () => {
  const text = readFileSync(path.join(root, 'docs/networks.md'), 'utf8')
  const shown = [...text.matchAll(/^```json\n(.*?)^```/gms)].map(([, one = '']) => JSON.parse(one))
  expect(shown.length).toBeGreaterThan(0)
  for (const one of shown) expect(faults('configuration', { name: 'net', ...one })).toEqual([])
})

describe('mistakes are marked where they stand', () => {
  const bridge = { type: 'bridge', ipam: { type: 'host-local', subnet: '10.1.0.0/24' } }
  test.each<[string, object, string[]]>([
    ['bridge', { ...bridge, isGatway: true }, [' additionalProperties']],
    ['bridge', { ...bridge, vlan: 5000 }, ['/vlan maximum']],
    ['bridge', { ...bridge, mtu: '1500' }, ['/mtu type']],
    ['bridge', { ...bridge, ipMasqBackend: 'nft' }, ['/ipMasqBackend enum']],
    ['bridge', { ...bridge, ipam: { type: 'host-local', subnett: 'x' } }, ['/ipam additionalProperties']],
    ['bridge', { ...bridge, ipam: { type: 'static', routes: [{ dst: 'default' }] } }, ['/ipam/routes/0/dst pattern']],
    ['bridge', { ...bridge, ipam: { type: 'whereabouts', range: 'its own' } }, []],
    ['vrf', { type: 'vrf' }, [' required']],
    ['vrf', { type: 'bridge', vrfname: 'red' }, ['/type const']],
    ['sbr', { type: 'sbr', gateways: ['10.0.0.1/24'] }, ['/gateways/0 pattern']],
    ['host-local', { type: 'host-local', subnet: 5 }, ['/subnet type']],
    ['chain', { type: 'chain', plugins: [{ type: 'tuning', mut: 1 }] }, ['/plugins/0 additionalProperties']],
    ['configuration', { type: 'calico', name: 'net', whatever: true }, []],
    ['configuration', { type: 'bridge' }, [' required']],
    ['list', { name: 'net', plugins: [{ type: 'firewall', backend: 'ipset' }] }, ['/plugins/0/backend enum']],
    ['list', { name: 'net', plugins: [] }, ['/plugins minItems']],
    ['list', { plugins: [bridge] }, [' required']],
  ])('%s %j', (name, value, found) => {
    expect(faults(name, value)).toEqual(found)
  })
})

test('every key that stands in a file has a description', () => {
  const bare: string[] = []
  const walk = (schema: object, at: string) => {
    for (const [key, one] of Object.entries((schema as { properties?: Record<string, object> }).properties ?? {})) {
      const isOpen = ['args', 'runtimeConfig'].includes(key) || at.endsWith('args')
      if (!('description' in one) && !isOpen) bare.push(`${at}.${key}`)
      walk(one, `${at}.${key}`)
      for (let items = (one as { items?: object }).items; items; items = (items as { items?: object }).items) {
        walk(items, `${at}.${key}[]`)
      }
    }
  }
  const { $defs } = jsonSchemaOf('list') as { $defs: Record<string, object> }
  for (const name of names) walk($defs[name] ?? {}, name)
  expect(bare).toEqual([])
})

describe('the command', () => {
  test.each([undefined, ...schemaNames])('prints that of %s', async (name) => {
    const { status, stdout, stderr } = await command(['schema', ...(name ? [name] : [])])
    expect([status, stderr]).toEqual([0, ''])
    expect(JSON.parse(stdout)).toEqual(jsonSchemaOf(name ?? 'list'))
  })

  test('writes all', async () => {
    const to = mkdtempSync(path.join(tmpdir(), 'podwire-schemas-'))
    try {
      expect(await command(['schema', '--to', to])).toEqual({ status: 0, stdout: '', stderr: '' })
      expect(readdirSync(to).sort()).toEqual(schemaNames.map((name) => `${name}.schema.json`).sort())
      expect(schemaNames).toEqual(expect.arrayContaining([...ipams]))
    } finally {
      rmSync(to, { recursive: true })
    }
  })

  test('knows no other', async () => {
    const { status, stdout, stderr } = await command(['schema', 'brigde'])
    expect([status, stdout]).toEqual([2, ''])
    expect(stderr).toContain('there is no schema "brigde": bandwidth, bridge,')
  })
})
