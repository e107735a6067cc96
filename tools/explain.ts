import { mkdirSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { names } from 'podwire:plugins'
import { differencesOf, type PluginDifference } from './explain/differences.js'
import { examples } from './explain/examples.js'
import { commonKeys, type Explained, explainedPlugin, type Key } from './explain/keys.js'
import { originWords, pages } from './explain/page.js'
import { type Definition, Ended, fine, wrapped, wrong } from './frame/command.js'
import type { Console } from './frame/console.js'
import { nearest } from './frame/near.js'

/** `podwire explain PLUGIN[.KEY]`: what the schemas say of a plugin or of one key. */
export default {
  name: 'explain',
  summary: 'say what a plugin or a key does, its type, its default, since when, and what differs',
  arguments: [
    {
      words: '[what]',
      what: 'a plugin, or one of its keys as bridge.ipMasq; without it the plugins are listed',
      values: completions,
    },
  ],
  options: [
    { flags: '--to <dir>', what: 'write pages into this folder: plugins/NAME.md of each plugin, and compatibility.md' },
  ],
  json: '{plugins: [{plugin, description}]}, or {plugin, description, since, official, keys, differences}',
  examples: [
    { line: 'podwire explain bridge', what: 'says what the plugin does, and lists its keys' },
    { line: 'podwire explain bridge.vlanTrunk', what: 'says what the key does' },
  ],
  run: async ({ words: [what], options: { to }, asJson, console }) => {
    if (typeof to === 'string') await writePages(to)
    else if (what === undefined) list(console, asJson)
    else await explain(what, console, asJson)
    return fine
  },
} satisfies Definition

// --- internal

async function writePages(to: string): Promise<void> {
  mkdirSync(path.join(to, 'plugins'), { recursive: true })
  for (const [file, text] of await pages()) writeFileSync(path.join(to, file), text)
}

function list(console: Console, asJson: boolean): void {
  const all = names.flatMap((name) => explainedPlugin(name) ?? [])
  const told = all.map(({ name, description }) => ({ plugin: name, description }))
  if (asJson) console.json('explain', { plugins: told })
  else console.table(['PLUGIN', 'WHAT IT DOES'], told.map(Object.values))
}

async function explain(what: string, console: Console, asJson: boolean): Promise<void> {
  const [name = '', ...rest] = what.split('.')
  const plugin = explainedPlugin(name)
  if (!plugin) throw new Ended(wrong, `there is no plugin "${name}"${meant(name, names)}`)
  const keys = rest.length === 0 ? plugin.keys : keysNamed(plugin, rest.join('.'))
  const differences = await differencesOf(name)
  if (asJson) {
    const { description, since, official } = plugin
    return console.json('explain', { plugin: name, description, since, official, keys, differences })
  }
  if (rest.length > 0) return console.write(...keys.flatMap((key) => [...keyLines(key), '']).slice(0, -1))
  console.write(
    `${console.painted('bold', name)}: ${plugin.description}`,
    `since ${originWords(plugin)}`,
    '',
    ...JSON.stringify(examples[name], null, 2)
      .split('\n')
      .map((line) => `  ${line}`),
    '',
    ...keys.flatMap((key) => [...keyLines(key), '']),
    `Keys of every plugin: ${commonKeys()
      .map(({ path }) => path)
      .join(', ')}.`,
    '',
    ...differenceLines(differences),
  )
}

/** The key of that path and what is below it; that of `ipam` and every plugin's, too. @throws Ended */
function keysNamed(plugin: Explained, wanted: string): readonly Key[] {
  const plain = (path: string) => path.replaceAll('[]', '').toLowerCase()
  const asked = plain(wanted)
  const known = [...plugin.keys, ...commonKeys().filter(({ path }) => !plugin.keys.some((one) => one.path === path))]
  const found = ['', 'ipam.', 'runtimeconfig.']
    .map((before) => known.filter(({ path }) => isBelow(plain(path), before + asked)))
    .find((some) => some.length > 0)
  if (found) return found
  const others = names.filter((name) => explainedPlugin(name)?.keys.some(({ path }) => plain(path) === asked))
  const hint =
    others.length > 0
      ? `; it is a key of ${others.join(', ')}`
      : meant(
          wanted,
          known.map(({ path }) => path),
        )
  throw new Ended(wrong, `${plugin.name} has no key "${wanted}"${hint}`)
}

function isBelow(path: string, asked: string): boolean {
  return path === asked || path.startsWith(`${asked}.`)
}

function meant(word: string, known: readonly string[]): string {
  const near = nearest(word, known)
  return near === undefined ? '' : `; did you mean "${near}"?`
}

function keyLines(key: Key): string[] {
  const kind = [key.type, ...(key.isRequired ? ['required'] : []), ...(key.default ? [`default ${key.default}`] : [])]
  return [
    key.path,
    ...wrapped(key.description, 90).map((line) => `    ${line}`),
    ...wrapped(kind.join('; '), 90).map((line) => `    ${line}`),
    `    since ${originWords(key)}`,
  ]
}

function differenceLines(differences: readonly PluginDifference[]): string[] {
  const item = ({ what, reason }: PluginDifference) =>
    wrapped(`${what}: ${reason}`, 90).map((line, at) => `${at === 0 ? '  - ' : '    '}${line}`)
  const own = differences.filter(({ group }) => group === undefined)
  const groups = [...new Set(differences.flatMap(({ group }) => group ?? []))]
  return [
    'What differs from the official suite:',
    ...(own.length === 0 ? ['  nothing of its own'] : own.flatMap(item)),
    ...groups.flatMap((group) => [`in ${group}:`, ...differences.filter((one) => one.group === group).flatMap(item)]),
  ]
}

function completions(): readonly string[] {
  return names.flatMap((name) => [name, ...(explainedPlugin(name)?.keys ?? []).map(({ path }) => `${name}.${path}`)])
}
