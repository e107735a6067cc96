import { literal, type Row, same, silence } from './row.js'

const about = (plugin: string) =>
  new RegExp(`^CNI ${plugin} plugin \\S.*\\nCNI protocol versions supported: 0\\.1\\.0, `)
const missing = { CNI_CONTAINERID: '', CNI_NETNS: '', CNI_IFNAME: '', CNI_PATH: '' }
const versions =
  '{"cniVersion":"1.1.0","supportedVersions":["0.1.0","0.2.0","0.3.0","0.3.1","0.4.0","1.0.0","1.1.0"]}\n'
const badContainerIDs = ['_a', 'a/b', 'a b', 'é', 'a\n', '../x', ' ', '-a', '.']
const badIfNames = ['a/b', 'a:b', 'a b', 'a\tb', 'a\u00a0b', 'a\u2003b', 'a\u0085b']
const container = 'invalid characters in containerID'
const charset = 'interface name contains / or : or whitespace characters'
const tooLong = 'interface name should be less than 16 characters'

/** The environment: what is required, what is validated, and which mistake is reported first. */
export const environmentRows: Row[] = [
  same('no CNI_COMMAND', { env: { ...missing, CNI_COMMAND: undefined } }, { is: 'about', stderr: about('static') }),
  same(
    'empty CNI_COMMAND and bad variables',
    { env: { CNI_COMMAND: '', CNI_CONTAINERID: '/' }, config: '{{{' },
    {
      is: 'about',
      stderr: about('static'),
    },
  ),
  ...['', '{{{', 'null'].map((config) =>
    same(
      `VERSION does not read ${JSON.stringify(config)}`,
      { command: 'VERSION', config },
      { is: 'output', stdout: versions },
    ),
  ),
  same(
    'VERSION with nothing but CNI_COMMAND',
    { command: 'VERSION', env: missing },
    { is: 'output', stdout: versions },
  ),
  same(
    'VERSION with invalid variables',
    { command: 'VERSION', containerID: '/', ifName: 'a b' },
    { is: 'output', stdout: versions },
  ),
  ...['version', 'add', 'FOO'].map((command) =>
    literal(`unknown command ${command}`, { env: { CNI_COMMAND: command } }, 4, `unknown CNI_COMMAND: ${command}`),
  ),
  literal(
    'unknown command and no input',
    { env: { CNI_COMMAND: 'FOO' }, config: '' },
    6,
    'error unmarshall network config: unexpected end of JSON input',
  ),
  ...(['ADD', 'CHECK'] as const).map((command) =>
    literal(
      `${command} without anything`,
      { command, env: missing },
      4,
      'required env variables [CNI_CONTAINERID,CNI_NETNS,CNI_IFNAME,CNI_PATH] missing',
    ),
  ),
  literal(
    'DEL without anything',
    { command: 'DEL', env: missing },
    4,
    'required env variables [CNI_CONTAINERID,CNI_IFNAME,CNI_PATH] missing',
  ),
  ...(['GC', 'STATUS'] as const).map((command) =>
    literal(`${command} without anything`, { command, env: missing }, 4, 'required env variables [CNI_PATH] missing'),
  ),
  literal('ADD without CNI_PATH', { env: { CNI_PATH: undefined } }, 4, 'required env variables [CNI_PATH] missing'),
  same('DEL without CNI_NETNS', { command: 'DEL', env: { CNI_NETNS: '' } }, silence),
  ...badContainerIDs.map((containerID) =>
    literal(`container ID ${JSON.stringify(containerID)}`, { containerID }, 4, container, containerID),
  ),
  same('container ID of 300 characters', { containerID: 'a'.repeat(300) }, { is: 'result' }),
  ...['.', '..'].map((ifName) => literal(`interface ${ifName}`, { ifName }, 4, 'interface name is . or ..')),
  ...badIfNames.map((ifName) => literal(`interface ${JSON.stringify(ifName)}`, { ifName }, 4, charset)),
  ...['abcdefghijklmnop', 'éééééééé'].map((ifName) =>
    literal(`interface ${ifName} of 16 bytes`, { ifName }, 4, 'interface name is too long', tooLong),
  ),
  same('interface of 15 bytes, not ASCII', { ifName: 'éééééééa' }, { is: 'result' }),
  literal('bad container ID before bad interface', { containerID: 'a b', ifName: 'a b' }, 4, container, 'a b'),
  literal('bad interface before missing container ID', { env: { CNI_CONTAINERID: '' }, ifName: 'a b' }, 4, charset),
  literal('bad environment before bad input', { containerID: 'a b', config: '{' }, 4, container, 'a b'),
  ...(['GC', 'STATUS'] as const).map((command) =>
    same(`${command} does not look at the attachment`, { command, containerID: 'a b', ifName: 'a/b' }, silence),
  ),
]
