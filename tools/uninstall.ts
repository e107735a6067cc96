import { existsSync, lstatSync, readdirSync, unlinkSync } from 'node:fs'
import path from 'node:path'
import { type CommandCall, type Definition, fine, found } from './frame/command.js'
import { inRoot } from './frame/place.js'
import { visible } from './frame/visible.js'
import {
  forgetInstalled,
  isEmptyKept,
  keptFolders,
  readInstalled,
  removeEmptyFolders,
  removeEmptyKept,
  removeIfEmpty,
} from './install/files.js'
import { applyRuleChanges, type RuleChange, removeRuleRecords, ruleChanges, ruleRecords } from './install/rules.js'
import { identifier, programs } from './install/suite.js'
import type { KnownAttachment } from './node/node.js'
import { attachmentJson, shortID, warnOfUnused } from './node/print.js'
import { FileReader } from './node/reader.js'
import { lookAtNode, socketOption } from './node/sockets.js'
import { removeTimer } from './node/timer.js'

/** `podwire uninstall`: removes the suite's files, and on wish its rules, records and units. */
export default {
  name: 'uninstall',
  summary: 'remove the plugins, and with --rules what they have made of rules, records and units',
  details: [
    'While attachments live it says which, and removes nothing without --force: what runs goes on, but without a suite ' +
      'in their place runtimes cannot attach or detach.',
    'Files are removed that are a binary of podwire, of any version, under the name of a plugin; those of others stay, ' +
      'and so does podwire-lib while a file is left that looks for it.',
    '--rules takes all of podwire out of nftables and iptables that no other suite takes away: containers that run ' +
      'keep their addresses, and lose published ports and masquerade until they are attached anew.',
  ],
  options: [
    { flags: '--rules', what: 'also remove tables, chains, records and the units of gc' },
    { flags: '--force', what: 'also while attachments live' },
    { flags: '--dry-run', what: 'say what would go (status 1: something)' },
    socketOption,
  ],
  places: ['root', 'conf', 'bin', 'data'],
  json: 'the attachments that are `alive`, and what was `removed`',
  finds: 'attachments live and there was no --force; with --dry-run something would go',
  examples: [{ line: 'podwire uninstall --rules --dry-run', what: 'says what would go' }],
  run: async (call) => {
    const { options, console, place, asJson } = call
    const isDryRun = options['dryRun'] === true
    const reader = new FileReader(place)
    const { attachments } = await lookAtNode(call, reader)
    const alive = attachments.filter(({ life }) => life.state === 'alive')
    const isRefused = alive.length > 0 && options['force'] !== true
    const to = inRoot(place, place.bin)
    const { files, left } = filesIn(to)
    const rules = options['rules'] === true && place.isHost ? ruleChanges() : []
    const records = options['rules'] === true && place.isHost ? ruleRecords() : []
    const units = options['rules'] === true ? removeTimer(place, true) : []
    const all = [
      ...files.map((file) => path.join(place.bin, file)),
      ...rules.map(({ what }) => what),
      ...records,
      ...units,
    ]
    const isDone = !isDryRun && !isRefused
    if (isDone) remove(call, { to, files, rules })
    if (asJson)
      console.json('uninstall', {
        alive: alive.map(attachmentJson),
        removed: isDone ? all : [],
        would: isDone ? [] : all,
        unused: reader.unused,
      })
    else tell(call, { alive, all, isRefused, left })
    warnOfUnused(call, reader)
    return isRefused || (isDryRun && all.length > 0) ? found : fine
  },
} satisfies Definition

// --- internal

function tell(
  { console, options }: CommandCall,
  {
    alive,
    all,
    isRefused,
    left,
  }: { alive: readonly KnownAttachment[]; all: readonly string[]; isRefused: boolean; left: readonly string[] },
): void {
  if (alive.length > 0) {
    console.table(
      ['ALIVE', 'CONTAINER', 'NAME', 'INTERFACE', 'HOW'],
      alive.map(({ network, containerID, name, ifName, life }) => [
        network,
        shortID(containerID),
        name,
        ifName,
        life.how,
      ]),
    )
  }
  const verb = options['dryRun'] || isRefused ? 'would remove' : 'removed'
  for (const one of all) console.write(visible(`${verb} ${one}`))
  for (const one of left) console.write(visible(one))
  if (all.length === 0) console.write('Nothing of podwire is there.')
  if (isRefused) console.warn(`${alive.length} attachments live: nothing was removed; --force removes it all the same`)
}

function remove(
  { options, place }: CommandCall,
  { to, files, rules }: { to: string; files: readonly string[]; rules: readonly RuleChange[] },
): void {
  if (options['rules'] === true) {
    applyRuleChanges(rules)
    if (place.isHost) removeRuleRecords()
    removeTimer(place)
  }
  for (const file of files) unlinkSync(path.join(to, file))
  removeEmptyFolders(to, files)
  removeEmptyKept(to)
  forgetInstalled(to)
  removeIfEmpty(path.join(to, 'podwire-share'))
}

/** The files of podwire in a folder, programs first, and what is to be said of those that stay. */
function filesIn(to: string): { readonly files: readonly string[]; readonly left: readonly string[] } {
  if (!existsSync(to)) return { files: [], left: [] }
  const identify = identifier()
  const isOurs = (name: string) => {
    const file = path.join(to, name)
    return lstatSync(file, { throwIfNoEntry: false })?.isFile() === true && identify(file).suite === 'podwire'
  }
  const own = programs.filter(isOurs)
  const others = readdirSync(to).filter((name) => !own.includes(name) && isOurs(name))
  const shared = sharedFiles(to)
  const isNeeded = others.length > 0
  const kept = keptFolders(to).filter((folder) => !isEmptyKept(folder))
  return {
    files: [...own, ...shared.filter((file) => !isNeeded || !file.startsWith('podwire-lib/'))],
    left: [
      ...others.map((name) => `podwire-lib stays: ${name} is podwire, too`),
      ...(kept.length > 0
        ? [`What podwire replaced stays in ${kept.join(', ')}: install --rollback of an archive gives it back.`]
        : []),
    ],
  }
}

/** What lies beside the programs: what was installed, and what an archive has there. */
function sharedFiles(to: string): readonly string[] {
  const installed = Object.keys(readInstalled(to)?.files ?? {})
  const found = ['podwire-lib', 'podwire-share'].flatMap((folder) => {
    const real = path.join(to, folder)
    if (!lstatSync(real, { throwIfNoEntry: false })?.isDirectory()) return []
    const names = readdirSync(real, { recursive: true, encoding: 'utf8' }).map((name) => `${folder}/${name}`)
    return names.filter((name) => installed.includes(name) || archived.some((pattern) => pattern.test(name)))
  })
  return found.filter((file) => lstatSync(path.join(to, file)).isFile())
}

const archived = [
  /^podwire-lib\/(lib[^/]*\.so\.[^/]*|LICENSE\.[^/]*)$/,
  /^podwire-share\/schemas\/[^/]*\.schema\.json$/,
  /^podwire-share\/man\/man1\/podwire[^/]*\.1$/,
  /^podwire-share\/completions\/podwire\.[^/]*$/,
  /^podwire-share\/docs\/(plugins\/)?[^/]*\.(md|svg)$/,
  /^podwire-share\/examples\/(Dockerfile|[^/]*\.conflist)$/,
]
