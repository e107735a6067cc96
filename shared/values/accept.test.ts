import { shapes } from 'podwire:shapes'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { schema as bridge } from '../../plugins/bridge/bridge.schema.js'
import { accept, unknownKeyWarning } from './accept.js'
import { checked, flag } from './config.schema.js'
import { schemas as results } from './result.schema.js'
import { shapeOf } from './shape.js'

const thing = shapeOf(
  z.object({
    name: checked('linkName').default('cni0'),
    isGateway: flag,
    mtu: z.int().min(0).max(100).optional(),
    list: z.array(z.object({ id: z.int() })).optional(),
    free: z.record(z.string(), z.boolean()).optional(),
    open: z.looseObject({ mac: z.string().optional() }).optional(),
    backend: z.enum(['a', 'b']).optional(),
  }),
)

describe('accepting', () => {
  const good: [string, unknown, object][] = [
    ['nothing: defaults', {}, { name: 'cni0', isGateway: false }],
    ['null as not given', { name: null, mtu: null, list: null }, { name: 'cni0', isGateway: false }],
    ['keys of any case', { NAME: 'br', ISGATEWAY: true, Mtu: 5 }, { name: 'br', isGateway: true, mtu: 5 }],
    ['the last of two spellings', { mtu: 5, MTU: 6 }, { name: 'cni0', isGateway: false, mtu: 6 }],
    ['a null spelling does not unset', { mtu: 5, MTU: null }, { name: 'cni0', isGateway: false, mtu: 5 }],
    ['the last of two spellings, the exact one', { MTU: 6, mtu: 5 }, { name: 'cni0', isGateway: false, mtu: 5 }],
    [
      'the last of two lists',
      { list: [{ id: 1 }], List: [{ id: 2 }] },
      { name: 'cni0', isGateway: false, list: [{ id: 2 }] },
    ],
    [
      'at every depth',
      {
        list: [
          { id: 1, ID: 2 },
          { Id: 3, id: 4 },
        ],
      },
      { name: 'cni0', isGateway: false, list: [{ id: 2 }, { id: 4 }] },
    ],
    [
      'the members of two objects, and the last of those',
      { open: { mac: 'x', a: { b: 1, c: 1 } }, OPEN: { MAC: 'y', a: { c: 2 } } },
      { name: 'cni0', isGateway: false, open: { mac: 'y', a: { b: 1, c: 2 } } },
    ],
    [
      'what is later in the document of two objects, too',
      { open: { mac: 'x', MAC: 'y' }, OPEN: { mac: 'z' } },
      { name: 'cni0', isGateway: false, open: { mac: 'z' } },
    ],
    ['whole numbers written as fractions', { mtu: 5.0 }, { name: 'cni0', isGateway: false, mtu: 5 }],
    [
      'open objects whole',
      { open: { MAC: 'x', other: [1] } },
      { name: 'cni0', isGateway: false, open: { mac: 'x', other: [1] } },
    ],
    [
      'keys of records as they are',
      { free: { A: true, a: false } },
      { name: 'cni0', isGateway: false, free: { A: true, a: false } },
    ],
  ]
  test.each(good)('%s', (_, value, expected) => {
    expect(accept(value, thing)).toEqual({ value: expected, problems: [], unknown: [] })
  })

  const bad: [string, unknown, string][] = [
    ['a string for a number', { mtu: '5' }, 'mtu'],
    ['a number for a flag', { isGateway: 1 }, 'isGateway'],
    ['a number out of range', { mtu: 101 }, 'mtu'],
    ['a fraction', { mtu: 1.5 }, 'mtu'],
    ['null in an array', { list: [null] }, 'list[0]'],
    ['a missing member of an array entry', { list: [{ id: 1 }, {}] }, 'list[1].id'],
    ['an array for an object', { open: [] }, 'open'],
    ['an unknown word', { backend: 'c' }, 'backend'],
    ['a link name that injects', { name: 'a b' }, 'name'],
    ['null in a record', { free: { a: null } }, 'free.a'],
    ['no object at all', 'text', '(top level)'],
  ]
  test.each(bad)('refuses %s', (_, value, path) => {
    expect(accept(value, thing).problems.map((problem) => problem.path)).toEqual([path])
  })

  test('finds all mistakes at once', () => {
    const { problems } = accept({ mtu: 'x', isGateway: 2, list: [{ id: 'a' }, null] }, thing)
    expect(problems.map(({ path }) => path)).toEqual(['isGateway', 'mtu', 'list[0].id', 'list[1]'])
  })

  test('the value is without what is wrong, as far as that is optional', () => {
    expect(accept({ mtu: 'x', list: [null], name: 'a b', open: { mac: 1, other: 2 } }, thing).value).toEqual({
      name: 'cni0',
      isGateway: false,
      open: { other: 2 },
    })
    expect(accept({ id: 'x' }, shapeOf(z.object({ id: z.int() }))).value).toBeUndefined()
  })

  test('keys named after parts of Object are only unknown keys', () => {
    const { value, problems, unknown } = accept(JSON.parse('{"__proto__": {"x": 1}, "constructor": 1}'), thing)
    expect(value).toEqual({ name: 'cni0', isGateway: false })
    expect(problems).toEqual([])
    expect(unknown.map(({ key }) => key)).toEqual(['__proto__', 'constructor'])
  })
})

describe('unknown keys', () => {
  const warnings: [string, string][] = [
    ['isGatway', 'did you mean "isGateway"?'],
    ['mut', 'did you mean "mtu"?'],
    ['whatever', 'is ignored'],
  ]
  test.each(warnings)('%s', (key, expected) => {
    const [found] = accept({ [key]: 1 }, thing).unknown
    expect(found && unknownKeyWarning(found)).toContain(expected)
  })

  test('no far-fetched guesses', () => {
    const [found] = accept({ colour: 1 }, thing).unknown
    expect(found && unknownKeyWarning(found)).not.toContain('mean')
  })
})

describe('shapes give the verdicts of the schemas they come from', () => {
  /** Values that are often right, often wrong in one place. */
  const leaf = fc.oneof(
    fc.constantFrom('10.1.0.0/24', '10.1.0.1', '02:00:00:00:00:01', 'cni0', 'nftables', '', 'a b', '::1/128'),
    fc.integer({ min: -2, max: 5000 }),
    fc.double(),
    fc.boolean(),
    fc.constant({}),
    fc.constant([]),
  )
  const cases: [string, z.ZodType, string[]][] = [
    ['bridge', bridge, Object.keys(bridge.shape)],
    ['result.A', results.A, Object.keys(results.A.shape)],
    ['result.B', results.B, Object.keys(results.B.shape)],
    ['result.C', results.C, Object.keys(results.C.shape)],
  ]
  test.each(cases)('%s', (name, schema, keys) => {
    const value = fc.dictionary(
      fc.constantFrom(...keys),
      fc.oneof(
        leaf,
        fc.array(
          fc.dictionary(fc.constantFrom('address', 'dst', 'gw', 'id', 'minID', 'name', 'version', 'interface'), leaf),
        ),
      ),
    )
    fc.assert(
      fc.property(value, (one) => {
        const given = { name: 'net', ...one }
        const { problems } = accept(given, shapes[name] as never)
        expect(problems.length === 0).toBe(schema.safeParse(given).success)
      }),
      { seed: 1, numRuns: 500 },
    )
  })

  test('a schema that shapes cannot say stops the build', () => {
    expect(() => shapeOf(z.date())).toThrow('zod\'s "date"')
    expect(() => shapeOf(z.number())).toThrow('not z.int()')
    expect(() => shapeOf(z.int().gt(5))).toThrow('"greater_than"')
  })
})
