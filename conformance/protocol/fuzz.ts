import fc from 'fast-check'

/** A value of JSON that is not what anybody expects: other types, extremes, long and odd texts, deep nesting. */
const oddValue: fc.Arbitrary<unknown> = fc.oneof(
  fc.constantFrom(
    null,
    true,
    false,
    0,
    -1,
    1.5,
    1e308,
    -1e308,
    2 ** 53,
    4294967296,
    '',
    ' ',
    '0',
    'null',
    '%n',
    '../..',
    '\0',
  ),
  fc.constantFrom(
    [],
    {},
    [null],
    [[]],
    [{}],
    { a: null },
    { __proto__: null },
    '10.0.0.0/33',
    '::/0',
    '0.0.0.0/0',
    'a'.repeat(70000),
  ),
  fc.string({ unit: 'binary', maxLength: 20 }),
  fc.array(fc.constantFrom(null, 1, 'x', {}), { maxLength: 3 }),
  fc.nat({ max: 500 }).map((depth) => nested(depth)),
)

function nested(depth: number): unknown {
  let value: unknown = depth
  for (let level = 0; level < depth; level++) value = level % 2 === 0 ? [value] : { value }
  return value
}

type Path = readonly (string | number)[]

function pathsOf(value: unknown, path: Path = []): Path[] {
  if (typeof value !== 'object' || value === null) return [path]
  return [path, ...Object.entries(value).flatMap(([key, child]) => pathsOf(child, [...path, key]))]
}

function replaceAt(value: unknown, [key, ...rest]: Path, change: (old: unknown) => unknown): unknown {
  if (key === undefined) return change(value)
  const copy = (Array.isArray(value) ? [...value] : { ...(value as object) }) as Record<string | number, unknown>
  copy[key] = replaceAt(copy[key], rest, change)
  return copy
}

/** A configuration with one to three members replaced by odd values or joined by an odd one. */
function mutated(config: object): fc.Arbitrary<unknown> {
  const change = fc.record({
    path: fc.constantFrom(...pathsOf(config)),
    value: oddValue,
    key: fc.string({ maxLength: 12 }),
  })
  const apply = (changed: unknown, { path, value, key }: { path: Path; value: unknown; key: string }) => {
    const there = pathsOf(changed).some((known) => known.join('\0') === path.join('\0'))
    if (!there) return changed
    return replaceAt(changed, path, (old) =>
      key.length > 8 && typeof old === 'object' && old !== null && !Array.isArray(old)
        ? { ...old, [key]: value }
        : value,
    )
  }
  return fc.array(change, { minLength: 1, maxLength: 3 }).map((changes) => changes.reduce(apply, config as unknown))
}

const flipCase = (text: string) =>
  text.replace(/"(\w+)":/g, (whole, key: string) => (key.length % 2 ? whole.toUpperCase() : whole))
const doubled = (text: string) => text.replace(/"(\w+)":/, '"$1":null,"$1":')

// What happens to the text on its way: mostly nothing, sometimes what editors, pipes and templates do to it.
const textual: fc.Arbitrary<(text: string) => string | Uint8Array> = fc.oneof(
  { weight: 6, arbitrary: fc.constant((text: string) => text) },
  { weight: 1, arbitrary: fc.constant(flipCase) },
  { weight: 1, arbitrary: fc.constant(doubled) },
  { weight: 1, arbitrary: fc.nat().map((at) => (text: string) => text.slice(0, at % (text.length + 1))) },
  {
    weight: 1,
    arbitrary: fc.tuple(fc.nat(), fc.nat({ max: 255 })).map(([at, byte]) => (text: string) => {
      const bytes = Buffer.from(text)
      bytes[at % Math.max(bytes.length, 1)] = byte
      return bytes
    }),
  },
)

/** What may stand on a plugin's stdin when things go wrong: a valid configuration, damaged. */
export function damagedInput(config: object): fc.Arbitrary<string | Uint8Array> {
  return fc.tuple(mutated(config), textual).map(([value, distort]) => distort(JSON.stringify(value) ?? ''))
}

const word = fc.string({ unit: 'binary', maxLength: 24 }).map((text) => text.replaceAll('\0', ''))

/** Odd values of the CNI variables; most variables are left as they are. */
export const oddEnvironment: fc.Arbitrary<Record<string, string>> = fc
  .record(
    {
      CNI_CONTAINERID: fc.oneof(word, fc.constantFrom('', 'a'.repeat(200), '..', 'a;b', '$(id)')),
      CNI_IFNAME: fc.oneof(word, fc.constantFrom('', 'lo', '-x', 'eth0%d', 'a\tb', 'all', 'default')),
      CNI_NETNS: fc.oneof(word, fc.constantFrom('', '/', '/nonexistent', '/dev/null', '/run/netns/x/', 'x')),
      CNI_ARGS: fc.oneof(word, fc.constantFrom(';', '=', 'IP=', 'MAC=x;IgnoreUnknown=1', 'IgnoreUnknown=2', 'a=b')),
      CNI_PATH: fc.oneof(word, fc.constantFrom('', ':', '/nonexistent', '/dev/null')),
      CNI_NETNS_OVERRIDE: fc.constantFrom('1', 'true', 'x'),
    },
    { requiredKeys: [] },
  )
  .map((given) => Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined)))
