// Tables that iptables-nft keeps are reported by iptables-save, with matches that nft cannot print.
const keptByIptables = /^table ip6? (nat|filter|mangle|raw|security)$/

/**
 * Turns `nft list ruleset` into one line a fact: "nft table inet t chain c: RULE"; iptables' own tables are left out.
 */
export function flattenRuleset(text: string): string[] {
  const headers: string[] = []
  const facts: string[] = []
  for (const line of statements(text)) {
    if (line === '}') headers.pop()
    else if (line.endsWith('{')) {
      headers.push(line.slice(0, -1).trim())
      facts.push(`nft ${headers.join(' ')}`)
    } else facts.push(`nft ${headers.join(' ')}: ${line}`)
    if (keptByIptables.test(headers[0] ?? '')) facts.pop()
  }
  return facts
}

// The elements of a set or map may go over several lines: they are joined until their brace closes.
function statements(text: string): string[] {
  const joined: string[] = []
  let open = ''
  for (const line of text.split('\n').map((raw) => raw.trim())) {
    if (line === '' || line.startsWith('#')) continue
    const statement = open === '' ? line : `${open} ${line}`
    const unfinished = balance(statement) > 0 && !(open === '' && line.endsWith('{'))
    open = unfinished ? statement : ''
    if (!unfinished) joined.push(statement)
  }
  return joined
}

const balance = (line: string): number => line.split('{').length - line.split('}').length
