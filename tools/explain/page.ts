import { names } from 'podwire:plugins'
import { wrapped } from '../frame/command.js'
import type { PluginDifference } from './differences.js'
import { differencesByPlugins, differencesOf } from './differences.js'
import { examples } from './examples.js'
import { commonKeys, type Explained, explainedPlugin, type Key } from './keys.js'

// The pages that are made of schemas and differences.

/** Every page by its place below docs/. */
export async function pages(): Promise<ReadonlyMap<string, string>> {
  const all = names.flatMap((name) => explainedPlugin(name) ?? [])
  const ofPlugins = await Promise.all(
    all.map(async (plugin) => {
      return [`plugins/${plugin.name}.md`, pluginPage(plugin, await differencesOf(plugin.name))] as const
    }),
  )
  return new Map([['compatibility.md', compatibility()], ['plugins/README.md', index(all)], ...ofPlugins])
}

/** Since when something is there: in podwire, and in the official suite. */
export function originWords({ since, official }: { since: string; official?: string }): string {
  return `podwire ${since}${official ? `, official suite ${official}` : '; the official suite does not have it'}`
}

// --- internal

const columns = 120
const made = '<!-- Made by `make docs` of the schemas: change those. -->'

function compatibility(): string {
  return text([
    '<!-- Made by `make docs` of conformance/oracle/differences.ts: change that. -->',
    '# Compatibility with the official suite',
    'podwire takes the configurations of the official suite v1.10.0 and gives its results, exit status and files on ' +
      'disk; where v1.9.1 differs from that, which Debian and kind still ship, it follows the newer one. Either suite ' +
      'cleans up what the other made: DEL and GC remove official leftovers, and in iptables mode the official DEL and ' +
      'CHECK work on our chains. [Changing over and back](operations.md#change-over-while-containers-run-and-back) ' +
      'needs no restart.',
    'Where podwire differs it is on purpose, and a test holds each row below. What the kernel or the disk shows is ' +
      'compared with the official binaries, configuration by configuration (`conformance/oracle`): all of it with ' +
      'v1.10.0, and with v1.9.1 what the newer one does otherwise (`make test-oracles`: all). 1,679 recorded calls of ' +
      'real clients get the recorded answers but for the rows on errors and on `loopback`. `podwire explain NAME` ' +
      'prints the rows of one plugin.',
    'The numbers of errors are [here](troubleshooting.md#error-codes), the names by which a plugin is found ' +
      '[here](operations.md#names).',
    ...[...differencesByPlugins()].flatMap(([who, rows]) => [
      `## ${headingOf(who)}`,
      [
        '| what podwire does | why, or what the official suite does |',
        '|---|---|',
        ...rows.map(({ what, reason }) => `| ${what} | ${reason} |`),
      ].join('\n'),
    ]),
  ])
}

function headingOf(who: string): string {
  if (who === 'all') return 'All plugins'
  return who.startsWith('all ') ? capital(who) : who
}

function index(all: readonly Explained[]): string {
  const item = ({ name, description }: Explained) => listed(`[${name}](${name}.md): ${description}`)
  const [ipams, others] = [all.filter(({ isIpam }) => isIpam), all.filter(({ isIpam }) => !isIpam)]
  return text([
    made,
    '# The plugins',
    'What each does, and every key of its configuration. `podwire explain NAME` prints the same, `podwire lint` says ' +
      'where a configuration differs from it.',
    others.map(item).join('\n'),
    'IPAM plugins, which give another one its addresses:',
    ipams.map(item).join('\n'),
    '## Keys of every plugin',
    ...commonKeys().flatMap((key) => keyText(key, '###')),
  ])
}

function pluginPage(plugin: Explained, differences: readonly PluginDifference[]): string {
  const own = differences.filter(({ group }) => group === undefined)
  const keys =
    plugin.keys.length === 0 ? ['It has none of its own.'] : plugin.keys.flatMap((key) => keyText(key, '###'))
  return text([
    made,
    `# ${plugin.name}`,
    plugin.description,
    `Since ${originWords(plugin)}.`,
    `\`\`\`json\n${JSON.stringify(examples[plugin.name], null, 2)}\n\`\`\``,
    '## Keys',
    ...keys,
    'The keys of every plugin stand in [README.md](README.md).',
    '## What differs from the official suite',
    own.length === 0 ? 'Nothing of its own.' : own.map(({ what, reason }) => listed(`${what}: ${reason}.`)).join('\n'),
    'What differs in all plugins stands in [compatibility.md](../compatibility.md).',
  ])
}

function keyText(key: Key, heading: string): string[] {
  const kind = [key.type, ...(key.isRequired ? ['required'] : []), ...(key.default ? [`default ${key.default}`] : [])]
  return [`${heading} \`${key.path}\``, key.description, `${capital(kind.join('; '))}. Since ${originWords(key)}.`]
}

function listed(item: string): string {
  return wrapped(item, columns - 2)
    .map((line, at) => `${at === 0 ? '- ' : '  '}${line}`)
    .join('\n')
}

/** Paragraphs; what has lines of its own keeps them. */
function text(paragraphs: readonly string[]): string {
  const lines = paragraphs.map((one) =>
    one.includes('\n') || /^(#|- |<)/.test(one) ? one : wrapped(one, columns).join('\n'),
  )
  return `${lines.join('\n\n')}\n`
}

function capital(words: string): string {
  return words.charAt(0).toUpperCase() + words.slice(1)
}
