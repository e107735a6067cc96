import type { Command } from 'commander'
import { ToolCommand } from './command.js'

// Man pages, from the same definitions as help and completion (man(7), without macros of any package).

/** The names of the pages of a program: its own, and one a command. */
export function manualPages(program: Command): readonly string[] {
  return [program.name(), ...shown(program).map((command) => `${program.name()}-${command.name()}`)]
}

/** The text of a page; undefined where there is none of the name. */
export function manualPage(program: Command, page: string, version: string): string | undefined {
  if (page === program.name()) return programPage(program, version)
  const command = shown(program).find((one) => page === `${program.name()}-${one.name()}`)
  return command && commandPage(program, command, version)
}

/** The commands that people are told of. */
export function shown(program: Command): readonly ToolCommand[] {
  return program.commands.filter((one): one is ToolCommand => one instanceof ToolCommand && !one.definition.isHidden)
}

// --- internal

function programPage(program: Command, version: string): string {
  const name = program.name()
  return page(name, version, program.description().replace(/\.$/, ''), [
    section('SYNOPSIS', `\\fB${name}\\fR \\fIcommand\\fR [\\fIoptions\\fR]`),
    section('DESCRIPTION', roff('For people, beside the CNI plugins that runtimes start. It only reads, unless said.')),
    section(
      'COMMANDS',
      shown(program)
        .map((one) => item(`${name}-${one.name()}(1)`, one.description()))
        .join('\n'),
    ),
    section('ENVIRONMENT', item('NO_COLOR', 'not empty: no colours on a terminal either')),
    section('EXIT STATUS', statuses('found something')),
  ])
}

function commandPage(program: Command, command: ToolCommand, version: string): string {
  const { definition } = command
  const whole = `${program.name()} ${definition.name}`
  const options = command.createHelp().visibleOptions(command)
  const words = (definition.arguments ?? []).map(({ words }) => roff(words)).join(' ')
  return page(`${program.name()}-${definition.name}`, version, definition.summary, [
    section('SYNOPSIS', `\\fB${roff(whole)}\\fR [\\fIoptions\\fR] ${words}`.trimEnd()),
    section('DESCRIPTION', [`${definition.summary}.`, ...(definition.details ?? [])].map(roff).join('\n.PP\n')),
    section('ARGUMENTS', (definition.arguments ?? []).map(({ words, what }) => item(words, what)).join('\n')),
    section('OPTIONS', options.map(({ flags, description }) => item(flags, description)).join('\n')),
    section('EXAMPLES', (definition.examples ?? []).map(({ line, what }) => item(line, what)).join('\n')),
    section('EXIT STATUS', statuses(definition.finds)),
    section('SEE ALSO', `\\fB${program.name()}\\fR(1)`),
  ])
}

function page(name: string, version: string, what: string, sections: readonly string[]): string {
  const head = `.TH ${roff(name).toUpperCase()} 1 "" "podwire ${roff(version)}" "CNI plugins"`
  return `${[head, section('NAME', `${roff(name)} \\- ${roff(what)}`), ...sections].filter(Boolean).join('\n')}\n`
}

function section(title: string, text: string): string {
  return text === '' ? '' : `.SH ${title}\n${text}`
}

function item(term: string, what: string): string {
  return `.TP\n\\fB${roff(term)}\\fR\n${roff(what)}`
}

function statuses(finds: string | undefined): string {
  const found = finds === undefined ? [] : [item('1', finds)]
  return [item('0', 'fine, or done'), ...found, item('2', 'wrong use, or it could not look')].join('\n')
}

/** Text that roff takes as it stands: nothing in it is a request or an escape. */
function roff(text: string): string {
  return text
    .replaceAll('\\', '\\e')
    .replaceAll('-', '\\-')
    .replace(/^([.'])/gm, '\\&$1')
}
