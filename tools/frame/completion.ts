import type { Command, Option } from 'commander'
import type { ToolCommand } from './command.js'
import { shown } from './manual.js'

// Completion in shells. The scripts ask the program itself (`podwire complete -- WORD...`), so they need not change
// with it.

export const shells = ['bash', 'zsh', 'fish'] as const
export type Shell = (typeof shells)[number]

/** The script that a shell reads. */
export function completionScript(shell: Shell, name: string): string {
  return scripts[shell].replaceAll('NAME', name)
}

/** A word that may stand next, and what it means. */
export interface Candidate {
  readonly word: string
  readonly what: string
}

/**
 * What may stand in the place of the last of the words, which is unfinished; none where it is a file, which the shell
 * itself knows.
 */
export function candidates(program: Command, words: readonly string[]): readonly Candidate[] {
  const [first = '', ...rest] = words
  if (rest.length === 0) return beginning(first, commandsOf(program))
  if (first === 'help') return rest.length === 1 ? beginning(rest[0] ?? '', commandsOf(program)) : []
  const command = shown(program).find((one) => one.name() === first)
  return command ? ofCommand(command, rest) : []
}

// --- internal

function commandsOf(program: Command): Candidate[] {
  const all = shown(program).map((one) => ({ word: one.name(), what: one.description() }))
  return [...all, { word: 'help', what: 'print what a command does and takes' }]
}

function ofCommand(command: ToolCommand, words: readonly string[]): readonly Candidate[] {
  const last = words.at(-1) ?? ''
  const options = command.createHelp().visibleOptions(command)
  const before = options.find(({ long }) => long !== undefined && long === words.at(-2))
  if (before && takesValue(before)) {
    return beginning(
      last,
      (before.argChoices ?? []).map((word) => ({ word, what: before.description })),
    )
  }
  if (last.startsWith('-')) {
    return beginning(
      last,
      options.map(({ long, description }) => ({ word: long ?? '', what: description })),
    )
  }
  const values = command.definition.arguments?.flatMap(({ values, what }) =>
    (values?.() ?? []).map((word) => ({ word, what })),
  )
  return beginning(last, values ?? [])
}

function takesValue({ required, optional }: Option): boolean {
  return required || optional
}

function beginning(start: string, all: readonly Candidate[]): readonly Candidate[] {
  return all.filter(({ word }) => word.startsWith(start))
}

const scripts: Readonly<Record<Shell, string>> = {
  bash: `# completion of NAME for bash
_NAME() {
  local IFS=$'\\n' line
  COMPREPLY=()
  while read -r line; do COMPREPLY+=("\${line%%$'\\t'*}"); done \\
    < <(NAME complete -- "\${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
}
complete -o default -F _NAME NAME
`,
  zsh: `#compdef NAME
# completion of NAME for zsh
_NAME() {
  local -a found
  local line
  while IFS= read -r line; do
    found+=("\${\${line%%$'\\t'*}//:/\\\\:}:\${line#*$'\\t'}")
  done < <(NAME complete -- "\${(@)words[2,CURRENT]}" 2>/dev/null)
  if (( \${#found} )); then _describe NAME found; else _files; fi
}
if [[ \${funcstack[1]} == _NAME ]]; then _NAME "$@"; else compdef _NAME NAME; fi
`,
  fish: `# completion of NAME for fish
function __NAME_complete
  set -l words (commandline -opc) (commandline -ct)
  NAME complete -- $words[2..-1] 2>/dev/null
end
complete -c NAME -a '(__NAME_complete)'
`,
}
