import { version } from 'podwire:version'
import type { Console } from '../frame/console.js'
import { visible, withoutMarkup } from '../frame/visible.js'
import { type Finding, rules, type Severity } from './finding.js'
import { type Loading, runtimes } from './runtimes.js'

/** What was looked at and found. */
export interface Report {
  readonly loading: readonly Loading[]
  readonly findings: readonly Finding[]
}

/** Columns of what runtimes load, and each finding with its line. */
export function printReport(console: Console, { loading, findings }: Report): void {
  if (loading.length > 0) {
    console.table(
      ['FILE', 'NETWORK', ...runtimes.map((one) => (one === 'libcni' ? 'CNITOOL, NERDCTL' : one.toUpperCase()))],
      loading.map(({ file, network, does }) => [file, network, ...runtimes.map((one) => does[one])]),
    )
    console.write('')
  }
  for (const finding of findings) console.write(...findingLines(console, finding))
  console.write(summary(findings))
}

/** SARIF 2.1.0, for tools that show findings where code is reviewed. */
export function sarif({ findings }: Report): object {
  const used = [...new Set(findings.map(({ rule }) => rule))].sort()
  return {
    $schema: 'https://json.schemastore.org/sarif-2.1.0.json',
    version: '2.1.0',
    runs: [
      {
        tool: {
          driver: {
            name: 'podwire lint',
            version,
            rules: used.map((id) => ({ id, shortDescription: { text: rules[id] } })),
          },
        },
        results: findings.map(sarifResult),
      },
    ],
  }
}

// --- internal

const colors = { error: 'red', warning: 'yellow', note: 'dim' } as const satisfies Record<Severity, string>

function findingLines(
  console: Console,
  { file, line, column, severity, message, rule, shown, fix }: Finding,
): string[] {
  const place = [visible(file), ...(line ? [line, column] : [])].join(':')
  const head = `${place}: ${console.painted(colors[severity], severity)}: ${visible(message)} [${rule}]`
  const source = line === undefined || shown === undefined ? [] : sourceLines(shown, column ?? 1)
  return [head, ...source, ...(fix ? [`    fix: ${visible(fix)}`] : []), '']
}

const widest = 100

/** The line with a mark below the column; of a long one the part around it. */
function sourceLines(shown: string, column: number): string[] {
  const from = column > widest ? column - widest / 2 : 0
  const part = shown.slice(from, from + widest).replaceAll('\t', ' ')
  const before = visible(part.slice(0, column - 1 - from))
  return [`    ${visible(part)}`, `    ${' '.repeat(before.length)}^`]
}

function summary(findings: readonly Finding[]): string {
  const count = (severity: Severity) => findings.filter((one) => one.severity === severity).length
  const words = (['error', 'warning', 'note'] as const).map(
    (one) => `${count(one)} ${one}${count(one) === 1 ? '' : 's'}`,
  )
  return words.join(', ')
}

function sarifResult({ rule, severity, file, line, column, message, fix }: Finding): object {
  const region = line === undefined ? {} : { region: { startLine: line, startColumn: column } }
  const text = withoutMarkup(fix ? `${message}. Fix: ${fix}` : message)
  const uri = file.split('/').map(encodeURIComponent).join('/')
  return {
    ruleId: rule,
    level: severity,
    message: { text },
    locations: [
      { physicalLocation: { artifactLocation: { uri: file.startsWith('/') ? `file://${uri}` : uri }, ...region } },
    ],
  }
}
