import { names } from 'podwire:plugins'

/** The last part of a path: what a program, or a link to it, is called. */
export function fileName(path: string): string {
  return path.slice(path.lastIndexOf('/') + 1)
}

/**
 * The plugin that a program is when it is called `name`, or by a link whose `targets` lead to it: its own name, else
 * that of the nearest target, else what a name says in its last or first part.
 * @returns none where nothing says it, two where a name can mean either
 */
export function pluginsCalled(name: string, targets: readonly string[]): readonly string[] {
  const all = [name, ...targets]
  const exact = all.find((one) => names.includes(one))
  return exact === undefined ? (all.map(pluginsWithin).find(({ length }) => length > 0) ?? []) : [exact]
}

/** The plugin that runs where `path` is executed, if that is certain. */
export function pluginAt(path: string, readLink: (path: string) => string): string | undefined {
  const [plugin, other] = pluginsCalled(fileName(path), linkTargets(path, readLink))
  return other === undefined ? plugin : undefined
}

/** The names that a symbolic link leads to, nearest first. */
export function linkTargets(path: string, readLink: (path: string) => string): readonly string[] {
  const found: string[] = []
  let at = path
  while (found.length < longestChain) {
    let target: string
    try {
      target = readLink(at)
    } catch {
      break
    }
    found.push(fileName(target))
    at = target.startsWith('/') ? target : at.slice(0, at.lastIndexOf('/') + 1) + target
  }
  return found
}

// --- internal

/** As the kernel follows. */
const longestChain = 40

/**
 * The plugin that is the name's last part (`buildkit-cni-bridge`), else its first (`.bridge-wrapped`). Plugins' own
 * names have separators, too (`host-local`). Two of one length, one at either end, are a tie.
 */
function pluginsWithin(name: string): readonly string[] {
  let [from, to] = [0, name.length]
  while (from < to && isSeparator(name, from)) from++
  while (to > from && isSeparator(name, to - 1)) to--
  const bare = name.slice(from, to)
  const last = only((one) => bare.endsWith(one) && isEdge(bare, bare.length - one.length - 1))
  const first = only((one) => bare.startsWith(one) && isEdge(bare, one.length))
  if (last && first && last !== first && last.length === first.length) return [first, last]
  const plugin = last ?? first
  return plugin === undefined ? [] : [plugin]
}

/** No name of a plugin begins or ends with another one. */
function only(fits: (plugin: string) => boolean): string | undefined {
  return names.find(fits)
}

function isEdge(text: string, at: number): boolean {
  return at < 0 || at === text.length || isSeparator(text, at)
}

/** All of ASCII but letters and digits. */
function isSeparator(text: string, at: number): boolean {
  const code = text.charCodeAt(at)
  const alphanumeric = (code >= 48 && code <= 57) || (code >= 65 && code <= 90) || (code >= 97 && code <= 122)
  return code < 128 && !alphanumeric
}
