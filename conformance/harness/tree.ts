import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

/** A process and all below it. What has ended meanwhile is left out. */
export function treeOf(root: number): Seen[] {
  const all = readdirSync('/proc').flatMap((name) => (/^\d+$/.test(name) ? (look(Number(name)) ?? []) : []))
  const below = (pid: number): Seen[] => all.filter(({ parent }) => parent === pid).flatMap(withBelow)
  const withBelow = (seen: Seen): Seen[] => [seen, ...below(seen.pid)]
  return all.filter(({ pid }) => pid === root).flatMap(withBelow)
}

export interface Seen {
  pid: number
  parent: number
  state: string
  command: string
  /** Where in the kernel it waits, from the innermost function on (proc_pid_stack(5)). */
  waits: string
}

function look(pid: number): Seen | undefined {
  const text = (file: string) => {
    try {
      return readFileSync(join('/proc', `${pid}`, file), 'utf8')
    } catch (error) {
      if (isHidden(error)) return ''
      throw error
    }
  }
  const [state = '', parent = ''] = (text('stat').split(') ').at(-1) ?? '').split(' ')
  if (parent === '') return undefined
  const command = (text('cmdline').replaceAll('\0', ' ') || text('comm')).trim().slice(0, 160)
  const waits = [...text('stack').matchAll(/\] (\w+)/g)].map(([, name]) => name).slice(0, 6)
  return { pid, parent: Number(parent), state, command, waits: waits.join(' ') }
}

/** A process ends between two looks, and of some the kernel tells nobody where they wait. */
const isHidden = (error: unknown) => ['ENOENT', 'ESRCH', 'EPERM'].includes((error as NodeJS.ErrnoException).code ?? '')
