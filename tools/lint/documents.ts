import { isAlias, isScalar, isSeq, LineCounter, parseAllDocuments, type Scalar } from 'yaml'
import { isObject } from '../../shared/values/object.js'
import type { Finding, Rule, Severity } from './finding.js'
import { JsonFault, type Positions, positionsOf } from './positions.js'

// From the text of a file to the networks it describes: CNI's JSON as it lies in net.d, or Kubernetes objects that
// carry it as text (Multus' NetworkAttachmentDefinition, ConfigMaps of manifests).

export type Json = Readonly<Record<string, unknown>>

/** One network, as a file describes it. */
export interface Network {
  readonly file: string
  /** "" where the file says none. */
  readonly name: string
  readonly isList: boolean
  /** Whether runtimes find it in net.d: else a Kubernetes object carries it, which may leave the name to that. */
  readonly isFile: boolean
  readonly config: Json
  readonly plugins: readonly PluginEntry[]
  readonly cniVersion: string
  /** The plugins of the folder of its name: libcni from 1.3 on appends them, but for `loadOnlyInlinedPlugins`. */
  readonly folder: readonly string[]
  readonly report: Report
}

export interface PluginEntry {
  /** "" for the only one of a .conf. */
  readonly path: string
  readonly type: string
  readonly config: Json
}

/** Makes a finding at a path of the network's configuration. */
export type Report = (rule: Rule, severity: Severity, at: string, message: string, fix?: string) => Finding

export interface Parsed {
  readonly networks: readonly Network[]
  readonly findings: readonly Finding[]
}

/** A file of a network's folder, which holds one plugin. */
export interface PluginFile extends Parsed {
  readonly file: string
}

/** What a file describes; `folderOf` are the files in the folder of a network's name beside it. */
export function parseDocument(
  file: string,
  text: string,
  folderOf: (network: string) => readonly PluginFile[] = () => [],
): Parsed {
  if (isYaml(file, text)) return parseYaml(file, text)
  const origin = { file, text, offset: 0 }
  return parseJson(file, text, file.endsWith('.conflist') ? { ...origin, folderOf } : origin, true)
}

/** One plugin of a network's folder. */
export function parsePlugin(file: string, text: string): Parsed {
  const { networks, findings } = parseJson(file, text, { file, text, offset: 0 }, false)
  const lists = networks.slice(0, 1).filter(({ isList }) => isList)
  const message = 'the folder of a network has one plugin in a file, with its "type": libcni refuses the network'
  return {
    networks: lists.length > 0 ? [] : networks,
    findings: [...findings, ...lists.map(({ report }) => report('value', 'error', 'plugins', message))],
  }
}

/** A switch of a list as libcni reads it: a text may stand for it; undefined where it is none. */
export function switchIn(config: Json, key: string): boolean | undefined {
  const value = key in config ? config[key] : false
  if (typeof value === 'boolean') return value
  const text = typeof value === 'string' ? value.toLowerCase() : ''
  return text === 'true' ? true : text === 'false' ? false : undefined
}

/** Whether a value stands for one that a manifest's installer fills in. */
export function isTemplate(value: unknown): boolean {
  return typeof value === 'string' && /__[A-Z][A-Z0-9_]*__|\$\{|\{\{|<[A-Z_]+>/.test(value)
}

/** Whether libcni leaves the folder of the network's name alone. */
export function isOnlyInlined(config: Json): boolean {
  return switchIn(config, 'loadOnlyInlinedPlugins') === true
}

// --- internal

/** Where a JSON text stands in a file: its lines may be further in than they begin. */
interface Origin {
  readonly file: string
  readonly text: string
  /** Where the JSON text begins in the file. */
  readonly offset: number
  /** The columns that YAML takes away before each line. */
  readonly indent?: number
  /** The text is not as in the file (escaped, folded): everything is at its beginning. */
  readonly isOpaque?: boolean
  /** The name that its object has where it has none itself. */
  readonly name?: string
  readonly folderOf?: (network: string) => readonly PluginFile[]
}

const yamlStart = /^(---|apiVersion:|kind:|[A-Za-z]+:\s)/m

function isYaml(file: string, text: string): boolean {
  if (/\.ya?ml$/.test(file)) return true
  return !/\.(conf|conflist|json)$/.test(file) && !text.trimStart().startsWith('{') && yamlStart.test(text)
}

function parseJson(file: string, text: string, origin: Origin, isFile: boolean): Parsed {
  const where = locator(origin, text)
  let positions: Positions
  try {
    positions = positionsOf(text)
  } catch (thrown) {
    if (!(thrown instanceof JsonFault)) throw thrown
    return { networks: [], findings: [syntaxFinding(thrown, text, where)] }
  }
  const config: unknown = JSON.parse(text)
  const at = (rule: Rule, severity: Severity, place: string, message: string, fix?: string): Finding => ({
    ...where(positions.of(place) ?? positions.of(parentOf(place, positions)) ?? 0),
    rule,
    severity,
    ...(place ? { path: place } : {}),
    message,
    ...(fix ? { fix } : {}),
  })
  if (!isObject(config)) {
    const finding = { ...where(0), rule: 'not-a-configuration' as const, severity: 'error' as const }
    return { networks: [], findings: [{ ...finding, message: 'a configuration is a JSON object' }] }
  }
  if (isKubernetes(config)) return parseYaml(file, text)
  const findings = positions.duplicates.map((key) =>
    at('duplicate-key', 'warning', key, `"${key}" stands twice; the last one counts`),
  )
  const { name, type } = config
  const folder = typeof name === 'string' && type === undefined ? (origin.folderOf?.(name) ?? []) : []
  const appended = isOnlyInlined(config) ? [] : folder
  const network = networkOf(config, origin, isFile, at, folder)
  const whole = Array.isArray(network) ? { networks: [], findings: network } : withDelegates(network)
  return {
    networks: whole.networks,
    findings: [...findings, ...whole.findings, ...appended.flatMap((one) => one.findings)],
  }
}

/** A network, and those that its Multus hands on, each a configuration of its own. */
function withDelegates(network: Network): Parsed {
  const handed = network.plugins.flatMap(({ type, path, config: { delegates } }): Parsed[] => {
    if (type !== 'multus' || delegates === undefined) return []
    const place = path === '' ? 'delegates' : `${path}.delegates`
    if (Array.isArray(delegates)) return delegates.map((one, index) => delegate(network, `${place}[${index}]`, one))
    return [{ networks: [], findings: [network.report('value', 'error', place, '"delegates" is no list')] }]
  })
  return {
    networks: [network, ...handed.flatMap(({ networks }) => networks)],
    findings: handed.flatMap(({ findings }) => findings),
  }
}

/** Multus takes a delegate's name and version from itself where it has none. */
function delegate({ file, name, report }: Network, place: string, config: unknown): Parsed {
  const within: Report = (rule, severity, at, ...words) =>
    report(rule, severity, at === '' ? place : `${place}.${at}`, ...words)
  if (!isObject(config)) {
    const message = 'a delegate is a configuration: an object with "type" or "plugins"'
    return { networks: [], findings: [within('value', 'error', '', message)] }
  }
  const network = networkOf(config, { file, name }, false, within)
  return Array.isArray(network) ? { networks: [], findings: network } : withDelegates(network)
}

/** The nearest place above that is there. */
function parentOf(place: string, positions: Positions): string {
  for (let at = place; at !== ''; at = at.replace(/(\.[^.[\]]+|\[\d+\]|^[^.[\]]+)$/, '')) {
    if (positions.of(at) !== undefined) return at
    if (!/(\.[^.[\]]+|\[\d+\]|^[^.[\]]+)$/.test(at)) return ''
  }
  return ''
}

function syntaxFinding({ message, offset }: JsonFault, text: string, where: ReturnType<typeof locator>): Finding {
  const rest = text.slice(offset, offset + 2)
  const isComment = rest === '//' || rest === '/*' || rest.startsWith('#')
  const fix = isComment ? { fix: 'JSON has no comments: take it away' } : {}
  return { ...where(offset), rule: 'json-syntax', severity: 'error', message: `no JSON: ${message}`, ...fix }
}

function networkOf(
  config: Json,
  origin: Pick<Origin, 'file' | 'name'>,
  isFile: boolean,
  ownReport: Report,
  folder: readonly PluginFile[] = [],
): Network | Finding[] {
  const appended = isOnlyInlined(config) ? [] : folder.flatMap(({ networks }) => networks.slice(0, 1))
  const isInlined = 'plugins' in config
  const isList = isInlined || appended.length > 0
  const { plugins = [] } = config
  const report = appending(ownReport, Array.isArray(plugins) ? plugins.length : 0, appended)
  if (isOnlyInlined(config) && !isInlined && !('type' in config)) {
    const message = '"loadOnlyInlinedPlugins" is true, and there is no "plugins": libcni refuses the list'
    return [report('value', 'error', 'loadOnlyInlinedPlugins', message, 'write the plugins into "plugins"')]
  }
  if (!isList && typeof config['type'] !== 'string') {
    const near = Object.keys(config).find((key) => key.toLowerCase() === 'plugins')
    const fix = near
      ? `write "plugins", not "${near}": this key counts in this spelling only`
      : 'a list has "plugins", one plugin has "type"'
    return [report('not-a-configuration', 'error', near ?? '', 'it has neither "plugins" nor "type"', fix)]
  }
  if (isList && !Array.isArray(plugins)) return [report('value', 'error', 'plugins', '"plugins" is no list')]
  const entries = isList ? (plugins as unknown[]) : [config]
  const wrong = entries.flatMap((one, index) =>
    isObject(one) ? [] : [report('value', 'error', `plugins[${index}]`, 'a plugin is an object with a "type"')],
  )
  if (wrong.length > 0) return wrong
  return {
    file: origin.file,
    name: typeof config['name'] === 'string' ? config['name'] : (origin.name ?? ''),
    isList,
    isFile,
    config,
    plugins: [...(entries as Json[]), ...appended.map((one) => one.config)].flatMap((one, index) =>
      entriesOf(one, isList ? `plugins[${index}]` : ''),
    ),
    cniVersion: versionOf(config),
    folder: folder.map((one) => one.file),
    report,
  }
}

/** What is said of a plugin that libcni appends stands in the file of that plugin. */
function appending(report: Report, inlined: number, appended: readonly Network[]): Report {
  return (rule, severity, at, ...words) => {
    const [, index = '', rest = ''] = /^plugins\[(\d+)\]\.?(.*)$/s.exec(at) ?? []
    const plugin = index === '' ? undefined : appended[Number(index) - inlined]
    return plugin ? plugin.report(rule, severity, rest, ...words) : report(rule, severity, at, ...words)
  }
}

/** A plugin; with those inside it where it is a chain, which mean what they would mean in its place. */
function entriesOf(config: Json, path: string): PluginEntry[] {
  const { type, plugins } = config
  const inside = type === 'chain' && Array.isArray(plugins) ? plugins : []
  const members = inside.flatMap((one: unknown, index) => {
    const place = `${path === '' ? '' : `${path}.`}plugins[${index}]`
    return isObject(one) ? [{ path: place, type: typeof one['type'] === 'string' ? one['type'] : '', config: one }] : []
  })
  return [{ path, type: typeof type === 'string' ? type : '', config }, ...members]
}

/** The version that libcni takes: the highest of `cniVersions` where a list has some. */
function versionOf(config: Json): string {
  const { cniVersion, cniVersions } = config
  const all = Array.isArray(cniVersions) ? cniVersions.filter((one) => typeof one === 'string') : []
  const [highest] = [...all, ...(typeof cniVersion === 'string' ? [cniVersion] : [])].sort((left, right) =>
    right.localeCompare(left, 'en', { numeric: true }),
  )
  return highest ?? ''
}

/** A function from an offset of the JSON text to the place in the file. */
function locator(origin: Origin, text: string) {
  const { file, offset: base, indent = 0, isOpaque } = origin
  return (offset: number): Pick<Finding, 'file' | 'line' | 'column' | 'shown'> => {
    const before = isOpaque ? '' : text.slice(0, offset)
    const [first, ...others] = [origin.text.slice(0, base).split('\n'), ...before.split('\n').slice(1)] as [
      string[],
      ...string[],
    ]
    const line = first.length + others.length
    const last = before.slice(before.lastIndexOf('\n') + 1)
    const start = isOpaque ? (first.at(-1) ?? '').length : indent
    const shown = origin.text.split('\n')[line - 1]?.replace(/\r$/, '') ?? ''
    return { file, line, column: start + last.length + 1, shown }
  }
}

function isKubernetes(config: Json): boolean {
  return typeof config['apiVersion'] === 'string' && typeof config['kind'] === 'string'
}

/** Kubernetes objects of a file: those that carry CNI's JSON, others are left alone. */
function parseYaml(file: string, text: string): Parsed {
  const counter = new LineCounter()
  const all = parseAllDocuments(text, { lineCounter: counter, uniqueKeys: false, logLevel: 'silent' })
  const parsed: Parsed[] = []
  for (const document of Array.isArray(all) ? all : []) {
    const [error] = document.errors
    if (error) {
      const { line, col } = counter.linePos(error.pos[0])
      const shown = text.split('\n')[line - 1] ?? ''
      const message = `no YAML: ${error.message.split('\n')[0]?.replace(/ at line \d+.*$/, '')}`
      parsed.push({
        networks: [],
        findings: [{ rule: 'yaml-syntax', severity: 'error', file, line, column: col, shown, message }],
      })
      continue
    }
    const list = document.get('items')
    const items = isSeq(list) ? list.items.map((_, index) => ['items', index]) : [[]]
    for (const item of items) parsed.push(...carried(file, text, (keys) => document.getIn([...item, ...keys], true)))
  }
  return {
    networks: parsed.flatMap(({ networks }) => networks),
    findings: parsed.flatMap(({ findings }) => findings),
  }
}

/** The JSON texts in one object. */
function carried(file: string, text: string, get: (keys: readonly (string | number)[]) => unknown): Parsed[] {
  const plain = (keys: readonly string[]) => {
    const node = get(keys)
    return isScalar(node) ? String(node.value) : undefined
  }
  const kind = plain(['kind'])
  if (kind === 'NetworkAttachmentDefinition') {
    const config = get(['spec', 'config'])
    return isText(config)
      ? [parseJson(file, config.value, originOf(file, text, config, plain(['metadata', 'name'])), false)]
      : []
  }
  if (kind !== 'ConfigMap') return []
  const data = get(['data']) as { items?: { key: Scalar; value: unknown }[] } | undefined
  return (data?.items ?? []).flatMap(({ key, value }) => {
    if (!isText(value) || !looksLikeConfiguration(String(key.value), value.value)) return []
    return [parseJson(file, value.value, originOf(file, text, value, undefined), true)]
  })
}

function isText(node: unknown): node is Scalar<string> & { range: [number, number, number] } {
  return isScalar(node) && !isAlias(node) && typeof node.value === 'string' && node.value.trim() !== ''
}

/** Of a ConfigMap: the texts that an installer writes to net.d, without those it has to fill in first. */
function looksLikeConfiguration(key: string, value: string): boolean {
  const isNamed = /\.(conf|conflist)$|cni[-_]?(conf|network)/i.test(key)
  return isNamed && value.trimStart().startsWith('{') && !isTemplate(value.replace(/"(?:[^"\\]|\\.)*"/g, '""'))
}

/** A block keeps its lines, a quoted or plain text does not. */
function originOf(
  file: string,
  text: string,
  node: Scalar<string> & { range: [number, number, number] },
  name: string | undefined,
): Origin {
  const [start, end] = node.range
  const named = name === undefined ? {} : { name }
  if (node.type !== 'BLOCK_LITERAL') return { file, text, offset: start, isOpaque: true, ...named }
  const content = text.indexOf('\n', start) + 1
  const lines = text.slice(content, end).split('\n')
  const first = lines.find((line) => line.trim() !== '') ?? ''
  const source = node.value.split('\n').find((line) => line.trim() !== '') ?? ''
  return { file, text, offset: content, indent: first.length - source.length, ...named }
}
