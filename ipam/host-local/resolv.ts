import type { Dns } from '../../shared/values/result.js'

/**
 * Reads a resolv.conf(5) the way the official plugin does: the first word after `nameserver`, the last `domain`,
 * every word of all `search` and `options` lines; a comment is a whole line. Members without entries are left out.
 */
export function parseResolvConf(text: string): Dns {
  const nameservers: string[] = []
  const search: string[] = []
  const options: string[] = []
  let domain: string | undefined
  for (const line of text.split('\n')) {
    const [keyword = '', first, ...rest] = words(line)
    if (keyword.startsWith('#') || keyword.startsWith(';') || first === undefined) continue
    if (keyword === 'nameserver') nameservers.push(first)
    else if (keyword === 'domain') domain = first
    else if (keyword === 'search') search.push(first, ...rest)
    else if (keyword === 'options') options.push(first, ...rest)
  }
  return {
    ...(nameservers.length > 0 ? { nameservers } : {}),
    ...(domain === undefined ? {} : { domain }),
    ...(search.length > 0 ? { search } : {}),
    ...(options.length > 0 ? { options } : {}),
  }
}

function words(line: string): string[] {
  const found: string[] = []
  let word = ''
  for (const char of `${line}\n`) {
    if (char.trim() !== '') word += char
    else if (word !== '') {
      found.push(word)
      word = ''
    }
  }
  return found
}
