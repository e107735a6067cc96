import { literal, type Row, same, silence } from './row.js'

const unmarshall = 'error unmarshall network config: '
const empty = 'unexpected end of JSON input'
const goStruct = 'Go value of type struct { Name string "json:\\"name\\"" }'
const seven = '["0.1.0" "0.2.0" "0.3.0" "0.3.1" "0.4.0" "1.0.0" "1.1.0"]'

const text = (name: string, config: string | Uint8Array, rest: string): Row =>
  literal(`input ${name}`, { config }, 6, unmarshall + rest)

const versioned = (cniVersion: unknown): object => ({
  cniVersion,
  name: 'n',
  type: 'static',
  ipam: { type: 'static', addresses: [{ address: '10.1.2.3/24' }] },
})

const notInList = (command: 'ADD' | 'DEL' | 'CHECK' | 'GC' | 'STATUS', cniVersion: string): Row =>
  literal(
    `${command} with version ${JSON.stringify(cniVersion)}`,
    { command, config: versioned(cniVersion) },
    1,
    'incompatible CNI versions',
    `config is "${cniVersion}", plugin supports ${seven}`,
  )

const gate = (command: 'CHECK' | 'GC' | 'STATUS', cniVersion: string | undefined, who: 'config' | 'plugin'): Row =>
  literal(
    `${command} with version ${cniVersion}`,
    { command, config: versioned(cniVersion) },
    1,
    `${who} version does not allow ${command}`,
  )

const laterVerbs = ['CHECK', 'GC', 'STATUS'] as const

/** What stands on stdin: JSON, the network's name, the version, and the order in which their mistakes win. */
export const inputRows: Row[] = [
  ...['', '  \n', '{'].map((config) => text(JSON.stringify(config), config, empty)),
  literal('input is empty on DEL', { command: 'DEL', config: '' }, 6, unmarshall + empty),
  literal('input is empty on GC', { command: 'GC', config: '' }, 6, unmarshall + empty),
  literal('input is a directory', { stdinPath: '/' }, 5, 'error reading from stdin: read /dev/stdin: is a directory'),
  ...Object.entries({ array: '[]', string: '"a"', number: '1', bool: 'true' }).map(([kind, config]) =>
    literal(`input is ${kind}`, { config }, 6, `${unmarshall}json: cannot unmarshal ${kind} into ${goStruct}`),
  ),
  ...['null', '{}', '{"name":""}', '{"name":null}'].map((config) =>
    literal(`input ${config}`, { config }, 7, 'missing network name'),
  ),
  text(
    'with a number as name',
    '{"name":1}',
    'json: cannot unmarshal number into Go struct field .name of type string',
  ),
  text('with text after it', '{"name":"a"}x', "invalid character 'x' after top-level value"),
  text('with a byte order mark', '\ufeff{"name":"a"}', "invalid character 'ï' looking for beginning of value"),
  text('with a trailing comma', '{"name":"a",}', "invalid character '}' looking for beginning of object key string"),
  text('with a comment', '// c\n{"name":"a"}', "invalid character '/' looking for beginning of value"),
  ...['a/b', 'a b', '-a', '_a', '.a', 'a\n', 'é'].map((name) =>
    literal(
      `network name ${JSON.stringify(name)}`,
      { config: { ...versioned('1.1.0'), name } },
      7,
      'invalid characters found in network name',
      name,
    ),
  ),
  literal(
    'cniVersion is a number',
    { config: versioned(1) },
    6,
    'decoding version from network config: json: cannot unmarshal number into Go struct field .cniVersion of type string',
  ),
  ...(['ADD', 'DEL'] as const).flatMap((command) =>
    ['0.0.1', '1.1', '1', 'v1.1.0', 'abc', '2.0.0', ' 1.1.0'].map((version) => notInList(command, version)),
  ),
  ...laterVerbs.flatMap((command) => [
    literal(
      `${command} with version abc`,
      { command, config: versioned('abc') },
      6,
      'failed to convert major version part "abc": strconv.Atoi: parsing "abc": invalid syntax',
    ),
    literal(
      `${command} with version 1.1.0.0`,
      { command, config: versioned('1.1.0.0') },
      6,
      'invalid version "1.1.0.0": too many parts',
    ),
    ...['1.1.1', '2.0.0'].map((version) => gate(command, version, 'plugin')),
  ]),
  literal(
    'CHECK with a pre-release version',
    { command: 'CHECK', config: versioned('1.1.0-rc1') },
    6,
    'failed to convert micro version part "0-rc1": strconv.Atoi: parsing "0-rc1": invalid syntax',
  ),
  ...[undefined, '0.1.0', '0.3.1'].map((version) => gate('CHECK', version, 'config')),
  ...(['GC', 'STATUS'] as const).flatMap((command) =>
    [undefined, '0.4.0', '1.0.0'].map((version) => gate(command, version, 'config')),
  ),
  ...['1', '1.0', '0.5.0', '1.1'].map((version) => notInList('CHECK', version)),
  ...(['GC', 'STATUS'] as const).map((command) => notInList(command, '1.1')),
  same('ADD without a type', { config: { ...versioned('1.1.0'), type: undefined } }, { is: 'result' }),
  same("ADD with another plugin's type", { config: { ...versioned('1.1.0'), type: 'bridge' } }, { is: 'result' }),
  same(
    'keys in another case',
    {
      config: { CNIVERSION: '1.1.0', NAME: 'n', Ipam: { Type: 'static', ADDRESSES: [{ address: '10.1.2.3/24' }] } },
    },
    { is: 'result' },
  ),
  same(
    'CHECK that is fine',
    { command: 'CHECK', config: { ...versioned('1.1.0'), prevResult: { ips: [{ address: '10.1.2.3/24' }] } } },
    silence,
  ),
  same('GC with no list', { command: 'GC', config: versioned('1.1.0') }, silence),
  same(
    'GC with null',
    { command: 'GC', config: { ...versioned('1.1.0'), 'cni.dev/valid-attachments': null } },
    silence,
  ),
  same('STATUS', { command: 'STATUS', config: versioned('1.1.0') }, silence),
]
