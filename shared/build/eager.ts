import { type AnyNode, type Program, parse } from 'acorn'

/**
 * A script whose functions V8 compiles together with it and so keeps in the code cache: it takes a function in
 * parentheses as one that is called at once. Compiling at run time is 15 % of the CPU time of a bridge ADD.
 */
export function compileEagerly(script: string): string {
  return declarationsToExpressions(parenthesised(script))
}

// --- internal

/** Puts every function expression in parentheses; methods and accessors have no form that takes them. */
function parenthesised(script: string): string {
  const marks: { at: number; mark: string }[] = []
  const visit = (node: AnyNode, isMethod: boolean) => {
    if ((node.type === 'FunctionExpression' && !isMethod) || node.type === 'ArrowFunctionExpression') {
      marks.push({ at: node.start, mark: '(' }, { at: node.end, mark: ')' })
    }
    for (const child of children(node)) visit(child, holdsMethod(node))
  }
  visit(parsed(script), false)
  let text = ''
  let done = 0
  for (const { at, mark } of marks.sort((a, b) => a.at - b.at)) {
    text += script.slice(done, at) + mark
    done = at
  }
  return text + script.slice(done)
}

/** Makes the functions declared at the top variables in front of everything that could call them. */
function declarationsToExpressions(script: string): string {
  const parts = { directives: '', functions: '', rest: '' }
  for (const statement of parsed(script).body) {
    const text = script.slice(statement.start, statement.end)
    if ('directive' in statement) parts.directives += `${text}\n`
    else if (statement.type === 'FunctionDeclaration') parts.functions += `var ${statement.id.name}=(${text});\n`
    else parts.rest += `${text}\n`
  }
  return parts.directives + parts.functions + parts.rest
}

function parsed(script: string): Program {
  return parse(script, { ecmaVersion: 'latest' })
}

/** Whether the function in a member of a class or an object is written without `function`, as in `{ run() {} }`. */
function holdsMethod(node: AnyNode): boolean {
  return node.type === 'MethodDefinition' || (node.type === 'Property' && (node.method || node.kind !== 'init'))
}

function children(node: AnyNode): AnyNode[] {
  const values: unknown[] = Object.values(node).flat()
  return values.filter((value): value is AnyNode => typeof (value as AnyNode | null)?.type === 'string')
}
