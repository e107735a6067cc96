import { existsSync, lstatSync, readdirSync, realpathSync } from 'node:fs'
import path from 'node:path'
import { names as plugins } from 'podwire:plugins'
import { version } from 'podwire:version'
import { type CommandCall, type Definition, Ended, fine, found, type Status, wrong } from './frame/command.js'
import { inRoot } from './frame/place.js'
import { visible } from './frame/visible.js'
import { install, keptFolders, readInstalled, rollback } from './install/files.js'
import { answerOf, identifier, programs, type Suite } from './install/suite.js'

/** `podwire install`: puts the suite into a folder of plugins, gives back what was there, and says what is there. */
export default {
  name: 'install',
  summary: 'put the plugins where runtimes look for them, give back what was there, or say what is there',
  details: [
    'What is replaced stays in podwire-kept, a folder beside the plugins, below the date: --rollback gives back what ' +
      'the last installation replaced, and removes what it added, but for files that somebody has changed since. The ' +
      'last four are given back one by one, then all before them at once.',
    'Every file has to answer VERSION before the first name changes. All names are one file, as in the archive: links, ' +
      'not copies. Each name is changed by a rename, so that running plugins keep their file and callers find the old ' +
      'or the new one; where one fails, those before it are given back.',
    '--check says of every program there whose it is, its version, whether it was altered since it was installed, and ' +
      'whether it answers VERSION.',
  ],
  options: [
    { flags: '--to <dir>', what: 'the folder of the plugins', default: '/opt/cni/bin' },
    { flags: '--from <dir>', what: 'where the suite is: an unpacked archive (default: where this program is)' },
    { flags: '--dry-run', what: 'say what would be done (status 1: something)' },
    { flags: '--rollback', what: 'give back what the last installation replaced' },
    { flags: '--check', what: 'say what is installed' },
  ],
  places: ['root'],
  json: 'of --check `programs` and `findings`; else what was `replaced` and `added`, or `restored`, `removed` and `left`',
  finds: 'with --check something is wrong; with --dry-run something would be done; --rollback left altered files',
  examples: [
    { line: './podwire install --to /opt/cni/bin', what: 'installs the archive that it was unpacked of' },
    { line: 'podwire install --rollback', what: 'gives back what was there before' },
    { line: 'podwire install --check', what: 'says what is installed' },
  ],
  run: (call) => {
    const to = inRoot(
      call.place,
      path.resolve('/', call.place.isHost ? path.resolve(text(call, 'to')) : text(call, 'to')),
    )
    if (call.options['check']) return check(call, to)
    return call.options['rollback'] ? back(call, to) : put(call, to)
  },
} satisfies Definition

// --- internal

function text({ options }: CommandCall, name: string): string {
  return String(options[name] ?? '')
}

function put(call: CommandCall, to: string): Status {
  const { console, options, asJson } = call
  const isDryRun = options['dryRun'] === true
  const from = path.resolve(text(call, 'from') || path.dirname(realpathSync(process.execPath)))
  if (existsSync(to) && existsSync(from) && realpathSync(from) === realpathSync(to)) {
    throw new Ended(wrong, `${from} is where it already is: --from names the folder of an unpacked archive`)
  }
  const { replaced, added, kept } = install({ from, to, names: programs, version }, isDryRun)
  const isDone = replaced.length + added.length === 0
  if (asJson) console.json('install', { to, replaced, added, kept: kept ?? null, dryRun: isDryRun })
  else if (isDone) console.write(visible(`${to} has podwire ${version} already.`))
  else {
    for (const file of replaced) console.write(visible(`${isDryRun ? 'would replace' : 'replaced'} ${file}`))
    for (const file of added) console.write(visible(`${isDryRun ? 'would add' : 'added'} ${file}`))
    if (kept !== undefined && replaced.length > 0)
      console.write(visible(`What was there ${isDryRun ? 'would be' : 'is'} in ${kept}.`))
  }
  return isDryRun && !isDone ? found : fine
}

function back({ console, options, asJson }: CommandCall, to: string): Status {
  const isDryRun = options['dryRun'] === true
  const outcome = rollback(to, isDryRun)
  const { from, restored, removed, left } = outcome
  if (asJson) console.json('install', { to, ...outcome, dryRun: isDryRun })
  else {
    for (const file of restored) console.write(visible(`${isDryRun ? 'would give back' : 'gave back'} ${file}`))
    for (const file of removed) console.write(visible(`${isDryRun ? 'would remove' : 'removed'} ${file}`))
    for (const file of left) console.warn(`${file} was changed since it was installed: it stays`)
    console.write(visible(`It ${isDryRun ? 'would be' : 'is'} as before ${path.basename(from)}.`))
  }
  return left.length > 0 || isDryRun ? found : fine
}

/** One program of a folder. */
interface Program {
  readonly name: string
  readonly suite: Suite
  readonly version: string
  /** Whether it is what was installed; undefined where nobody installed it. */
  readonly isAltered: boolean | undefined
  /** Why it does not answer VERSION. */
  readonly fault: string | undefined
  readonly inode: number
}

function check({ console, asJson, place }: CommandCall, to: string): Status {
  if (!existsSync(to)) throw new Ended(wrong, `${to} is not there`)
  const all = programsIn(to, place.isHost)
  const findings = findingsOf(all, to)
  if (asJson) {
    const shown = all.map(({ name, suite, version: its, isAltered, fault }) => {
      return { name, suite, version: its, altered: isAltered ?? null, fault: fault ?? null }
    })
    console.json('install', { to, programs: shown, kept: keptFolders(to), findings })
  } else {
    console.table(
      ['NAME', 'WHOSE', 'VERSION', 'ALTERED', 'ANSWERS VERSION'],
      all.map(({ name, suite, version: its, isAltered, fault }) => {
        const altered = isAltered === undefined ? '' : isAltered ? 'yes' : 'no'
        return [name, suite, its, altered, fault ?? (suite === 'other' ? '' : 'yes')]
      }),
    )
    for (const finding of findings) console.write(visible(finding))
  }
  return findings.length > 0 ? found : fine
}

/** Only programs of the two suites are started, and of this host only. */
function programsIn(to: string, isHost: boolean): readonly Program[] {
  const identify = identifier()
  const installed = readInstalled(to)
  return readdirSync(to)
    .filter((name) => !name.startsWith('.'))
    .flatMap((name): Program[] => {
      const file = path.join(to, name)
      const status = lstatSync(file)
      if (status.isDirectory()) return []
      const real = status.isSymbolicLink() && existsSync(file) ? realpathSync(file) : file
      if (!lstatSync(real).isFile())
        return [{ name, suite: 'other', version: '', isAltered: undefined, fault: undefined, inode: 0 }]
      const { suite, sha256 } = identify(real)
      const known = installed?.files[name]
      const answer = isHost && suite !== 'other' ? answerOf(file, name) : { version: '', fault: undefined }
      return [
        {
          name,
          suite,
          ...answer,
          isAltered: known === undefined ? undefined : known !== sha256,
          inode: lstatSync(real).ino,
        },
      ]
    })
}

function findingsOf(all: readonly Program[], to: string): readonly string[] {
  const own = all.filter(({ suite, name }) => suite === 'podwire' && name !== 'podwire')
  const altered = all.filter(({ isAltered }) => isAltered).map(({ name }) => name)
  const silent = all.filter(({ fault }) => fault !== undefined).map(({ name, fault }) => `${name}: ${fault}`)
  const mixed = all.filter(({ suite, name }) => suite === 'official' && plugins.includes(name)).map(({ name }) => name)
  const versions = new Set(own.map(({ version: its }) => its))
  const inodes = new Set(own.map(({ inode }) => inode))
  const isLacking = own.length > 0 && !existsSync(path.join(to, 'podwire-lib'))
  const missing = readInstalledNames(to).filter((name) => !all.some((one) => one.name === name))
  return [
    ...(altered.length > 0 ? [`Changed since they were installed: ${altered.join(', ')}.`] : []),
    ...(missing.length > 0 ? [`Installed, and no longer there: ${missing.join(', ')}.`] : []),
    ...silent.map((one) => `It does not answer VERSION: ${one}.`),
    ...(own.length > 0 && mixed.length > 0 ? [`Of the official suite beside podwire: ${mixed.join(', ')}.`] : []),
    ...(versions.size > 1 ? [`Several versions of podwire: ${[...versions].join(', ')}.`] : []),
    ...(versions.size === 1 && inodes.size > 1
      ? [`podwire is there ${inodes.size} times: install it anew to link the names.`]
      : []),
    ...(isLacking ? ['podwire-lib is not there: the plugins start only where the host has its libraries.'] : []),
  ]
}

function readInstalledNames(to: string): readonly string[] {
  return Object.keys(readInstalled(to)?.files ?? {}).filter((file) => !file.includes('/'))
}
