import type { Command, Outcome, Run } from '../exec/command.js'
import type { Files } from '../exec/files.js'
import { main } from '../program/main.js'
import { holdToInterpreters } from './interpreters.js'

/**
 * Golden rows: what a plugin would do, as the commands a person would type. The whole program runs in a dry run, from
 * the environment to stdout; only the looking is answered from `answers`, and any question without an answer fails the
 * test. So does an operation that netlink does not do, and that is not known as what only a tool does
 * (interpreters.ts).
 */
export interface Row {
  readonly plugin: string
  readonly verb: 'ADD' | 'DEL' | 'CHECK' | 'STATUS' | 'GC'
  /** Merged over `{cniVersion: '1.1.0', name: 'net', type: plugin}`. */
  readonly config?: object
  /** Merged over a good environment: container `c1`, interface `eth0`. */
  readonly env?: Readonly<Record<string, string>>
  /** Links of the host, as /proc shows them. */
  readonly links?: readonly string[]
  /**
   * Command as pasted into a shell -> stdout, or the whole outcome. A key ending in `*` answers every command that
   * begins so.
   */
  readonly answers?: Readonly<Record<string, string | object | Partial<Outcome>>>
  /**
   * Path -> content of a file the plugin reads through the host, or target of a symbolic link. Directories hold what
   * lies below.
   */
  readonly files?: Readonly<Record<string, string>>
}

export interface Shown {
  /** The plan and the warnings, as a dry run prints them. */
  readonly plan: string
  readonly status: 0 | 1
  /** stdout as JSON; undefined when empty. */
  // biome-ignore lint/suspicious/noExplicitAny: tests look into results of every form
  readonly json: any
}

/** The namespace path of golden rows: it exists wherever tests run (own namespace, allowed by CNI_NETNS_OVERRIDE). */
export const netns = '/proc/self/ns/net'

/** For `skip` of a row that asks STATUS whether records can be written: that is a look at this machine's own /run. */
export const needsRun: [boolean, string] = [
  process.getuid?.() !== 0,
  'only root may write into /run, for which STATUS looks',
]

const bootID = '5ca1ab1e-0000-4000-8000-000000000000'

/** Runs one row. */
export async function show(row: Row): Promise<Shown> {
  const shown = await run(row)
  holdToInterpreters(shown.plan)
  return { ...shown, plan: shown.plan.replaceAll(`nsenter --net=${netns} `, 'container# ') }
}

/** The same with the plan as it is, and without holding it to what takes its operations. */
export async function run(row: Row): Promise<Shown> {
  let [plan, stdout] = ['', '']
  const status = await main({
    plugin: row.plugin,
    env: { PODWIRE_DRY_RUN: '1', ...environmentOf(row) },
    stdin: () => inputOf(row),
    stdout: (text) => {
      stdout += text
    },
    stderr: (text) => {
      plan += text
    },
    run: answering(row.answers ?? {}),
    files: holding(filesOf(row)),
  })
  return { plan, status, json: stdout === '' ? undefined : JSON.parse(stdout) }
}

/** The environment of a row's call. */
export function environmentOf(row: Row): Readonly<Record<string, string>> {
  return {
    CNI_COMMAND: row.verb,
    CNI_CONTAINERID: 'c1',
    CNI_NETNS: netns,
    CNI_NETNS_OVERRIDE: '1',
    CNI_IFNAME: 'eth0',
    CNI_PATH: '/opt/cni/bin',
    ...row.env,
  }
}

/** What a row's call reads from its standard input. */
export function inputOf({ plugin, config }: Row): string {
  return JSON.stringify({ cniVersion: '1.1.0', name: 'net', type: plugin, ...config })
}

/** The files of a row's machine. */
export function filesOf({ links = [], files }: Row): Readonly<Record<string, string>> {
  return {
    ...Object.fromEntries(links.map((name) => [`/proc/sys/net/ipv4/conf/${name}/forwarding`, '0\n'])),
    '/proc/sys/kernel/random/boot_id': `${bootID}\n`,
    '/proc/net/if_inet6': '',
    '/proc/1/ns/net': 'net:[1]',
    '/proc/self/ns/net': 'net:[1]',
    ...files,
  }
}

/** What `ip -j -d addr show` answers for one link, as much of it as we read. */
export function link(name: string, more: object = {}): string {
  return JSON.stringify([{ ifindex: 7, ifname: name, flags: [], mtu: 1500, operstate: 'UP', addr_info: [], ...more }])
}

/** Tools that answer as a row says; what it does not say fails. */
export function answering(answers: NonNullable<Row['answers']>): Run {
  return ({ argv }: Command) => {
    const line = argv.join(' ').replace(`nsenter --net=${netns} `, 'container# ')
    const key = Object.keys(answers).find((one) =>
      one.endsWith('*') ? line.startsWith(one.slice(0, -1)) : one === line,
    )
    if (key === undefined) throw new Error(`the row has no answer for: ${line}`)
    const answer = answers[key]
    const outcome = typeof answer === 'string' ? { stdout: answer } : answer
    return { status: 0, signal: null, stdout: '', stderr: '', ...outcome }
  }
}

/** Files that hold these texts, and cannot be written. */
export function holding(files: Readonly<Record<string, string>>): Files {
  const absent = (path: string) => Object.assign(new Error(`ENOENT: ${path}`), { code: 'ENOENT' })
  const content = (path: string) => {
    const text = Object.hasOwn(files, path) ? files[path] : undefined
    if (text === undefined) throw absent(path)
    return text
  }
  return {
    read: content,
    readLink: content,
    list: (path) => {
      const below = Object.keys(files).filter((one) => one.startsWith(`${path}/`))
      if (below.length === 0) throw absent(path)
      return [...new Set(below.map((one) => one.slice(path.length + 1).split('/')[0] as string))].sort()
    },
    write: (path) => {
      throw new Error(`a dry run wrote ${path}`)
    },
  }
}

// --- internal
