import path from 'node:path'
import { isIdentifier } from '../shared/values/environment.js'
import { type Definition, Ended, fine, found, wrong } from './frame/command.js'
import type { Console } from './frame/console.js'
import { listNames, type Place, placeOf, readText, statOf, Unseen } from './frame/place.js'
import { chainFindings } from './lint/chain.js'
import { type Network, type Parsed, type PluginFile, parseDocument, parsePlugin } from './lint/documents.js'
import type { Finding } from './lint/finding.js'
import { HostLook } from './lint/host.js'
import { loadPlugins, pluginFindings } from './lint/plugins.js'
import { printReport, type Report, sarif } from './lint/report.js'
import { type FolderFile, loadingFindings, loadingOf } from './lint/runtimes.js'
import { betweenNetworks } from './lint/subnets.js'

/** `podwire lint [FILE or DIR...]`: what is wrong with configurations, before a container shows it. */
export default {
  name: 'lint',
  summary: 'say what runtimes load, and what is wrong with configurations',
  details: [
    'Files are configurations (.conf, .json), lists (.conflist), and Kubernetes objects in YAML or JSON that carry ' +
      "them: Multus' NetworkAttachmentDefinition, ConfigMaps. Of a folder it takes what runtimes would look at, and " +
      'says what each does with it. Without an argument it looks at the folder of --conf, and whether this host has what ' +
      'the configurations need.',
    'Errors and warnings count for the exit status, notes do not.',
  ],
  arguments: [{ words: '[files...]', what: 'files and folders; without one it is the folder of --conf, and the host' }],
  options: [
    { flags: '--format <form>', what: 'how the answer is given', choices: ['text', 'json', 'sarif'], default: 'text' },
    {
      flags: '--host <when>',
      what: 'hold configurations against this host',
      choices: ['auto', 'always', 'never'],
      default: 'auto',
    },
  ],
  places: ['root', 'conf', 'bin'],
  json: '{files: [{file, network, does}], findings: [{rule, severity, file, line, column, path, message, fix, shown}]}',
  finds: 'there are errors or warnings',
  examples: [
    { line: 'podwire lint', what: "looks at this host's configurations" },
    { line: 'podwire lint --format sarif deploy/*.yaml', what: 'is for checks of a repository' },
  ],
  run: async ({ words, options, place, asJson, console }) => {
    const form = asJson ? 'json' : options['format']
    const isOfPlace = words.length === 0
    const looksAtHost = options['host'] === 'always' || (options['host'] === 'auto' && isOfPlace)
    const [targets, at] = isOfPlace ? [[place.conf], place] : [words, placeOf({})]
    const report = await lint(targets, at, place, looksAtHost, console)
    if (form === 'json') {
      const files = report.loading.map(({ file, network, does }) => ({ file, network, does }))
      console.json('lint', { files, findings: report.findings })
    } else if (form === 'sarif') console.write(JSON.stringify(sarif(report), null, 2))
    else printReport(console, report)
    return report.findings.some(({ severity }) => severity !== 'note') ? found : fine
  },
} satisfies Definition

// --- internal

async function lint(
  targets: readonly string[],
  at: Place,
  host: Place,
  looksAtHost: boolean,
  console: Console,
): Promise<Report> {
  const known = await loadPlugins()
  const look = new HostLook(host)
  const [loading, findings]: [Report['loading'][number][], Finding[]] = [[], []]
  for (const target of targets) {
    const { files, isFolder } = filesOf(at, target)
    const parsed = files.map((file) => {
      console.progress(`reading ${file}`)
      return readNetworks(at, file)
    })
    const networks = parsed.flatMap((one) => one.networks)
    findings.push(...parsed.flatMap((one) => one.findings))
    for (const network of networks) {
      console.progress(`looking at ${network.file}`)
      findings.push(...pluginFindings(network, known), ...chainFindings(network, known))
      if (looksAtHost) findings.push(...look.findings(network))
    }
    findings.push(...betweenNetworks(networks.filter(({ isFile }) => isFile)))
    const inFolder = parsed.map(folderFile)
    if (isFolder) loading.push(...loadingOf(inFolder))
    findings.push(...loadingFindings(isFolder ? inFolder : inFolder.filter(({ file }) => !/\.ya?ml$/.test(file))))
  }
  for (const why of look.unseen) console.warn(`not seen: ${why}`)
  return { loading, findings: inOrder(findings) }
}

interface Read {
  readonly file: string
  readonly networks: readonly Network[]
  readonly findings: readonly Finding[]
}

/** The files that a target means. @throws Ended where there is none */
function filesOf(place: Place, target: string): { files: readonly string[]; isFolder: boolean } {
  try {
    const status = statOf(place, path.resolve(target))
    if (status === undefined) throw new Ended(wrong, `there is no ${target}`)
    if (!status.isDirectory()) return { files: [target], isFolder: false }
    const names = listNames(place, path.resolve(target)) ?? []
    const files = names
      .filter((name) => /\.(conf|conflist|json|ya?ml)$/.test(name))
      .map((name) => path.join(target, name))
    return { files, isFolder: true }
  } catch (thrown) {
    if (thrown instanceof Unseen) throw new Ended(wrong, `${target} ${thrown.message}`)
    throw thrown
  }
}

function readNetworks(place: Place, file: string): Read {
  return reading(place, file, (text) => parseDocument(file, text, (network) => pluginFolder(place, file, network)))
}

/** The plugins in the folder of a network's name beside its file. */
function pluginFolder(place: Place, file: string, network: string): readonly PluginFile[] {
  if (!isIdentifier(network)) return []
  const folder = path.join(path.dirname(file), network)
  let names: readonly string[]
  try {
    names = listNames(place, path.resolve(folder)) ?? []
  } catch (thrown) {
    return [unreadable(folder, 'folder', thrown)]
  }
  return names
    .filter((name) => name.endsWith('.conf'))
    .map((name) => path.join(folder, name))
    .filter((one) => !statOf(place, path.resolve(one))?.isDirectory())
    .map((one) => reading(place, one, (text) => parsePlugin(one, text)))
}

function reading(place: Place, file: string, parse: (text: string) => Parsed): Read {
  try {
    const text = readText(place, path.resolve(file))
    if (text === undefined) throw new Unseen('is not there any more')
    return { file, ...parse(text) }
  } catch (thrown) {
    return unreadable(file, 'file', thrown)
  }
}

function unreadable(file: string, what: 'file' | 'folder', thrown: unknown): Read {
  if (!(thrown instanceof Unseen)) throw thrown
  const message = `the ${what} ${thrown.message}`
  return { file, networks: [], findings: [{ rule: 'file-unreadable', severity: 'error', file, message }] }
}

/** How runtimes see it: a file with one network. */
function folderFile({ file, networks, findings }: Read): FolderFile {
  const [network] = networks
  return {
    file,
    ...(network ? { network } : {}),
    isWrong: !network || findings.some(({ severity }) => severity === 'error'),
  }
}

/** By file and line, each once: a mistake in a range is the main plugin's and the IPAM plugin's. */
function inOrder(findings: readonly Finding[]): readonly Finding[] {
  const keyed = new Map(findings.map((one) => [`${one.file}\0${one.line}\0${one.column}\0${one.message}`, one]))
  return [...keyed.values()].sort((left, right) =>
    left.file < right.file ? -1 : left.file > right.file ? 1 : (left.line ?? 0) - (right.line ?? 0),
  )
}
